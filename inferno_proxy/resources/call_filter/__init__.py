"""The filter that reads a call's model name and sequence id inside Envoy: its source, and the module built from it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

MODULE = Path(__file__).with_name("call_filter.wasm")


@cache
def module() -> bytes:
    """The WebAssembly module, 15 kB: small enough to travel inside the listener's configuration."""
    return MODULE.read_bytes()
