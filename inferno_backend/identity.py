"""The node's name, its life, and the folder that belongs to it alone."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inferno_runtime.errors import Unavailable


def node_id(wanted: str, data_dir: Path) -> str:
    """The wanted name, or one made of the host's name and a random suffix, kept in the data folder."""
    if wanted:
        return wanted
    kept = data_dir / "node_id"
    if kept.is_file() and (name := kept.read_text(encoding="utf-8").strip()):
        return name
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100] or "node"
    name = f"{host}-{secrets.token_hex(2)}"
    kept.write_text(name + "\n", encoding="utf-8")
    return name


def incarnation(now: int, data_dir: Path) -> int:
    """The number of this life: ``now`` (Unix time in nanoseconds), or one more than the last life's after a clock was
    set back, since the mesh takes a lower one for a zombie's. Kept in the data folder."""
    kept = data_dir / "incarnation"
    last = kept.read_text(encoding="utf-8").strip() if kept.is_file() else ""
    number = max(now, int(last) + 1) if last.isascii() and last.isdigit() else now
    kept.write_text(f"{number}\n", encoding="utf-8")
    return number


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Hold the data folder: two agents over one Triton would tear it apart. Made if it is not there.

    Raises:
        Unavailable: It cannot be written, or another agent holds it; the sentence says which.
    """
    lock = data_dir / "agent.lock"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            f"The data folder {data_dir} cannot be used: {error.strerror}.",
            reason="NO_DATA_DIR",
            fix="Choose another with --data-dir.",
        ) from error
    try:
        # The kernel lets go of it when the process ends, however it ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode() or "unknown"
        raise Unavailable(
            f"The data folder {data_dir} is used by another node (pid {holder}).",
            reason="DATA_DIR_IN_USE",
            fix="Give each node a folder of its own with --data-dir.",
        ) from error
    finally:
        os.close(descriptor)
