"""Files that only their owner reads, replaced whole and on disk when a write returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def create(path: Path, content: bytes) -> None:
    """Write a file of mode 0600; it is on disk when this returns, but its name may not be (see :func:`sync`).

    Raises:
        OSError: It cannot be written.
    """

    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    opener: Callable[[str, int], int] = private
    with open(path, "wb", opener=opener) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    """Put a new file in the place of an old one: a reader, and a machine that loses power, find one or the other.

    Raises:
        OSError: It cannot be written; the old one is still whole.
    """
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    create(partial, content)
    partial.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
