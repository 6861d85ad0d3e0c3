"""The filters that find out who calls, and that hold a call to the model it may have: sources, and the modules built
from them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent


@cache
def callers_module() -> bytes:
    """The WebAssembly module that turns a credential into a client's name."""
    return (_FOLDER / "callers.wasm").read_bytes()


@cache
def names_module() -> bytes:
    """The WebAssembly module that compares the model's name in each message with the one the call was let in for."""
    return (_FOLDER / "names.wasm").read_bytes()
