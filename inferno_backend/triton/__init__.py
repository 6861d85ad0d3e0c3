"""Triton as a part: where it is installed, how it is started, and what it says of itself."""

from __future__ import annotations
