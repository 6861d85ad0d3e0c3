"""Whether the kernel ended a process because memory was used up: its own counters, read before and after.

Nothing in an exit status tells a SIGKILL of the kernel from anybody else's. What tells is ``oom_kill``: in a control
group's ``memory.events`` (cgroup v2) or ``memory.oom_control`` (v1), and for the whole machine in ``/proc/vmstat``.
Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/")
# What cgroup v1 shows where no limit is set: the largest number of whole pages.
_NO_LIMIT = 2**60
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kills:
    """How many processes the kernel has ended for lack of memory: in our control ``group``, and on the ``machine``.

    None where that cannot be read. ``limit`` is what the group may use, in bytes; None without one.
    """

    group: int | None = None
    machine: int | None = None
    limit: int | None = None


def read(root: Path = _ROOT) -> Kills:
    """Read the counters of the group that this process, and so whatever it starts, is in."""
    machine = _number(root / "proc/vmstat", "oom_kill")
    for folder, events, limit in _groups(root):
        group = _number(folder / events, "oom_kill")
        if group is not None:
            most = _number(folder / limit, "")
            return Kills(group, machine, most if most is not None and most < _NO_LIMIT else None)
    return Kills(None, machine)


def verdict(before: Kills, after: Kills) -> str:
    """What the kernel did between two readings, as the end of a sentence; empty when it ended nothing.

    >>> verdict(Kills(0, 0), Kills(1, 1, 512 * 1024 * 1024))
    'the kernel ended it because its control group had used up its 512 MiB of memory'
    """
    if _grew(before.group, after.group):
        much = f"its {after.limit // _MIB} MiB of memory" if after.limit is not None else "its memory"
        return f"the kernel ended it because its control group had used up {much}"
    # A group that can be read and has not grown: it was somebody else's process.
    if after.group is None and _grew(before.machine, after.machine):
        return "the kernel was ending processes because the machine had used up its memory"
    return ""


def _grew(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and after > before


def _groups(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Where our group's files may be, with their names: the path the kernel gives, or, in a container, the mount."""
    mount = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            for base in (mount, mount / "unified"):
                yield base / path.lstrip("/"), "memory.events", "memory.max"
                yield base, "memory.events", "memory.max"
        elif "memory" in controllers.split(","):
            for folder in (mount / "memory" / path.lstrip("/"), mount / "memory"):
                yield folder, "memory.oom_control", "memory.limit_in_bytes"


def _number(file: Path, key: str) -> int | None:
    """The number behind ``key``, or the one that is all of the file."""
    for line in _lines(file):
        if found := re.fullmatch(rf"{key} ?(\d+)", line):
            return int(found[1])
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
