"""The filters that find out who calls, hold a call to the model it may have, and a client to its budget: sources, and
the modules built from them."""

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


@cache
def budgets_module() -> bytes:
    """The WebAssembly module that counts what each client has left."""
    return (_FOLDER / "budgets.wasm").read_bytes()
