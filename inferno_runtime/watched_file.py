"""A file that others write: its content now, and each new one once it has settled.

It is looked at again and again rather than followed by the kernel's notices: that sees an editor that replaces the
file, a link anywhere on the way to it that is turned to another file (Kubernetes does that with mounted ConfigMaps),
and a network's file system, all in the same way.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from inferno_runtime.clock import Clock

# Seconds between two looks. A change counts once two looks in a row have found the same.
LOOK_EVERY = 0.25
# Bytes; whoever reads what is larger waits for something that is no list and no configuration.
LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Look:
    """What a file held; None, and why in a few words, when it could not be read."""

    content: bytes | None
    problem: str = ""


def look(path: Path) -> Look:
    """Read the file as it is now."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            return Look(None, "it is no regular file")
        if about.st_size > LARGEST:
            return Look(None, f"it is larger than {LARGEST >> 20} MiB")
        return Look(path.read_bytes())
    except OSError as error:
        return Look(None, error.strerror or type(error).__name__)


async def contents(path: Path, clock: Clock, every: float = LOOK_EVERY) -> AsyncIterator[Look]:
    """Yield what the file holds, then each other content once it has settled, without end.

    A file that is gone for one look only was being replaced: that is no change.
    """
    pending = await asyncio.to_thread(_mark, path)
    settled: object = None
    known = await asyncio.to_thread(look, path)
    yield known
    while True:
        await clock.sleep(every)
        fresh = await asyncio.to_thread(_mark, path)
        if fresh == settled:
            continue
        if fresh != pending:
            pending = fresh
            continue
        found = await asyncio.to_thread(look, path)
        settled = pending
        if found != known:
            known = found
            yield known


def _mark(path: Path) -> object:
    """What differs as soon as the file, or what a link leads to, is another or was written."""
    try:
        about = path.stat()
    except OSError as error:
        return error.errno
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
