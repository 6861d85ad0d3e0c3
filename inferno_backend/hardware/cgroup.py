"""What the control groups of a process allow it: CPU time and memory, in both of the kernel's versions.

Sources: the kernel's documentation, admin-guide/cgroup-v2 (cpu.max, memory.max, memory.stat) and
admin-guide/cgroup-v1/memory and scheduler/sched-bwc (cpu.cfs_quota_us, memory.limit_in_bytes).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOUNTED = Path("/sys/fs/cgroup")
_PROC = Path("/proc/self/cgroup")
# Version 1 writes "no limit" as the largest number of whole pages; no machine has this much.
_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Limits:
    """CPUs worth of time and bytes of memory that may be used; None: no limit.

    ``memory`` is the folder whose limit on memory holds: the tightest one, where use is counted as well.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    memory: Path | None = None


def limits(proc: Path = _PROC, mounted: Path = _MOUNTED) -> Limits:
    """The tightest limits of the process, its own groups' and those of the groups around them.

    Args:
        proc: The process's file that names its groups.
        mounted: Where the control groups are mounted.
    """
    cpus: list[float] = []
    memories: list[tuple[int, Path]] = []
    for folder in _folders(proc, mounted):
        quota = _quota(folder)
        if quota is not None:
            cpus.append(quota)
        memory = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if memory is not None and memory < _UNLIMITED:
            memories.append((memory, folder))
    least, folder_of_least = min(memories, default=(None, None))
    return Limits(min(cpus, default=None), least, folder_of_least)


def memory_used(folder: Path) -> int | None:
    """Bytes that the processes of a group hold and cannot give back at once; None where it does not tell.

    What the kernel keeps of files and nobody has used of late is left out: it goes first when memory is short.
    """
    used = _number(folder / "memory.current")
    if used is None:
        used = _number(folder / "memory.usage_in_bytes")
    if used is None:
        return None
    counts = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
    idle = counts.get("total_inactive_file") or counts.get("inactive_file") or "0"
    return max(0, used - int(idle))


def _folders(proc: Path, mounted: Path) -> Iterator[Path]:
    """Every folder of the process's groups and of those around them that is there."""
    for line in _text(proc).splitlines():
        _, controllers, path = line.split(":", 2)
        roots = (
            [mounted / controllers, *(mounted / one for one in controllers.split(","))] if controllers else [mounted]
        )
        for root in dict.fromkeys(roots):
            # Inside a container the path may be the machine's; then the group's own files lie at the root.
            below = Path(path.lstrip("/"))
            for part in (below, *below.parents):
                if (root / part).is_dir():
                    yield root / part


def _quota(folder: Path) -> float | None:
    """CPUs worth of time that a group may use."""
    words = _text(folder / "cpu.max").split()
    if not words:
        words = [_text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()]
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return None  # "max", or -1 in version 1: no limit
    return int(words[0]) / int(words[1])


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
