"""The data folder of a mesh on this machine, and the lock that keeps it with one ``inferno up`` at a time."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from inferno_runtime.errors import AlreadyExists, InvalidInput

# sockaddr_un.sun_path holds 107 bytes; a component's folder and socket names take 30 of them.
_MAX_BYTES = 77
_PREVIOUS_RUN_SECONDS = 10.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Where everything of one mesh on this machine lies."""

    path: Path

    @property
    def logs(self) -> Path:
        """One log for each component."""
        return self.path / "logs"

    @property
    def lock(self) -> Path:
        """Held by the parent and its components for as long as one of them lives."""
        return self.path / "lock"

    def of(self, component: str) -> Path:
        """The folder of one component."""
        return self.path / component


def default(env: Mapping[str, str]) -> Path:
    """``inferno`` in the XDG data folder.

    >>> default({"XDG_DATA_HOME": "/data"})
    PosixPath('/data/inferno')
    >>> default({"HOME": "/home/ada"})
    PosixPath('/home/ada/.local/share/inferno')
    """
    return Path(env.get("XDG_DATA_HOME") or Path(env.get("HOME", "/")) / ".local" / "share") / "inferno"


def prepare(path: Path) -> DataFolder:
    """Make the folder, readable to its owner only.

    Raises:
        InvalidInput: It cannot be made or written, or its path is too long for the sockets in it.
    """
    folder = DataFolder(path.absolute())
    length = len(os.fsencode(folder.path))
    if length > _MAX_BYTES:
        raise InvalidInput(
            f"The data folder {folder.path} is {length} bytes long; the sockets in it allow {_MAX_BYTES}.",
            reason="PATH_TOO_LONG",
            fix="Give a shorter one with --data-dir.",
        )
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.logs.mkdir(exist_ok=True)
        folder.lock.touch(mode=0o600)
    except OSError as error:
        raise InvalidInput(
            f"The data folder {folder.path} cannot be used: {error.strerror}.",
            reason="BAD_DATA_DIR",
            fix="Give a folder you may write with --data-dir.",
        ) from error
    return folder


@asynccontextmanager
async def locked(folder: DataFolder, patience: float = _PREVIOUS_RUN_SECONDS) -> AsyncIterator[int]:
    """Hold the folder's lock; yields its file descriptor, which components inherit.

    A lock whose parent is dead is held by components that are still ending: they get ``patience`` seconds.

    Raises:
        AlreadyExists: Another ``inferno up`` uses the folder; the sentence has its pid.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    # Opened without truncation: until the lock is ours, the pid in it is another's.
    with folder.lock.open("r+", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = folder.lock.read_text(encoding="ascii").strip()
                if _alive(holder) or loop.time() > until:
                    raise _used(folder, holder) from None
            await asyncio.sleep(_POLL_SECONDS)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()
        file.truncate(0)


def _alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


def _used(folder: DataFolder, holder: str) -> AlreadyExists:
    return AlreadyExists(
        f"The data folder {folder.path} is used by another inferno up"
        + (f" (pid {holder})." if _alive(holder) else ", whose components have not ended yet."),
        reason="DATA_DIR_IN_USE",
        fix="Stop it, or choose another folder with --data-dir.",
        metadata={"pid": holder},
    )
