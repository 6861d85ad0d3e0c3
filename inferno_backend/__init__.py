"""The node's agent: it runs (or attaches to) a Triton, registers it, watches it and measures it."""

from __future__ import annotations
