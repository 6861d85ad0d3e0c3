"""Reads how a Triton's streams go on, from the pages that its models' processes write (:mod:`.stream_gauge`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from inferno_backend.triton import stream_gauge as gauge
from inferno_backend.triton.metrics_page import Key
from inferno_runtime.process import runs

_SHM = Path("/dev/shm")  # noqa: S108 - the place of POSIX shared memory, not a temporary file of ours


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream that has not ended: when it began and when it last sent something, in monotonic seconds; ``last`` is
    None before its first response."""

    began: float
    last: float | None = None


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of one instance of a model version.

    Attributes:
        open: Those that have not ended.
        crowd: How many more there are than can be told apart.
        finished: How many have ended.
        responses: How many responses all of them have sent.
        moved_at: When any of them last sent something or ended, in monotonic seconds; 0 for never.
        first_wait: The longest time until a first response so far, in seconds.
        gap: The longest time between two responses, or the last one and the end, so far, in seconds.
    """

    open: tuple[Stream, ...] = ()
    crowd: int = 0
    finished: int = 0
    responses: int = 0
    moved_at: float = 0.0
    first_wait: float = 0.0
    gap: float = 0.0

    @property
    def running(self) -> int:
        """How many have not ended."""
        return len(self.open) + self.crowd

    @property
    def pauses(self) -> int:
        """How many pauses between two responses there were, at least."""
        return max(0, self.responses - self.finished - self.running)


# The streams of each instance of each model version, where they can be seen.
Seen = Mapping[Key, tuple[Streams, ...]]


def pages_prefix(shm_prefix: str) -> str:
    """Where a Triton's models put their pages, given the prefix of its shared memory, with which they are removed."""
    return f"{_SHM}/{shm_prefix}streams-"


def read(shm_prefix: str) -> dict[Key, tuple[Streams, ...]]:
    """The streams of a Triton whose shared memory has this prefix; empty for an empty prefix.

    The pages of processes that have ended are removed.
    """
    found: dict[Key, tuple[Streams, ...]] = {}
    for path in _pages(shm_prefix):
        try:
            cells = memoryview(path.read_bytes()).cast("Q")
        except (OSError, TypeError):
            continue  # removed, or not yet of its full size
        if len(cells) == gauge.CELLS and cells[gauge.FORMAT] == gauge.LAYOUT:
            name, _, version = _name(cells).partition("\0")
            found[name, version] = (*found.get((name, version), ()), streams_of(cells))
    return found


def _pages(shm_prefix: str) -> Iterator[Path]:
    if not shm_prefix:
        return
    for path in sorted(_SHM.glob(f"{Path(pages_prefix(shm_prefix)).name}*")):
        # One that died by itself is in the kernel's table until Triton collects it, which may be never.
        if runs(int(path.name.rpartition("-")[2])):
            yield path
        else:
            path.unlink(missing_ok=True)


def streams_of(cells: memoryview[int]) -> Streams:
    """What a page says."""
    slots = range(gauge.SLOTS_FROM, gauge.CELLS, gauge.SLOT)
    return Streams(
        open=tuple(
            Stream(_seconds(began), _seconds(cells[slot + gauge.LAST]) or None)
            for slot in slots
            if (began := cells[slot + gauge.BEGAN])
        ),
        crowd=cells[gauge.CROWD],
        finished=cells[gauge.FINISHED],
        responses=cells[gauge.RESPONSES],
        moved_at=_seconds(cells[gauge.MOVED]),
        first_wait=_seconds(cells[gauge.FIRST_WAIT]),
        gap=_seconds(cells[gauge.GAP]),
    )


def _name(cells: memoryview[int]) -> str:
    area = cells[gauge.NAME : gauge.SLOTS_FROM].tobytes()
    return area.rstrip(b"\0").decode(errors="replace")


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / 1e9
