"""Whether there is room for what Triton's Python backend keeps in shared memory."""

from __future__ import annotations

import os
from pathlib import Path

from inferno_runtime.errors import Unavailable

FOLDER = Path("/dev/shm")  # noqa: S108 - the place of POSIX shared memory, not a temporary file of ours
# What each instance of a Python model takes at its start (shm-default-byte-size of Triton's python_backend); it grows
# by as much at a time for tensors that need more.
_FOR_AN_INSTANCE = 1024 * 1024
_MIB = 1024 * 1024
_FIX = (
    "Give it more (docker run --shm-size=1g; Kubernetes: an emptyDir with medium Memory at /dev/shm), "
    "or remove what others have left there."
)


def check(instances: int, folder: Path = FOLDER) -> str:
    """Look before Triton is started with so many instances of Python models; a warning, or empty.

    Raises:
        Unavailable: There is no room for a single one.
    """
    if not instances or not folder.is_dir():
        return ""
    found = os.statvfs(folder)
    free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    if free >= instances * _FOR_AN_INSTANCE:
        return ""
    has = f"{folder} has {free / _MIB:.1f} MiB free of {size / _MIB:.1f}"
    if free < _FOR_AN_INSTANCE:
        raise Unavailable(
            f"There is too little shared memory: {has}, and each instance of a Python model takes 1 MiB at its start.",
            reason="NO_SHARED_MEMORY",
            fix=_FIX,
        )
    return f"{has}, and {instances} instances of Python models take 1 MiB each at their start: not all will. {_FIX}"
