"""Alive means work moves. Pure functions of what was seen and when; moments are monotonic seconds.

Two ways to be dead while the process is there: the server does not answer at all (stopped, deadlocked, or crashed and
lingering), which :class:`Pulse` follows; or it answers and one model's work stands still, which :class:`Progress`
follows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_backend.triton.metrics_page import Counters, Key

# One miss may be a lost packet or a busy machine; two in a row are a verdict, within 1 s of the fault.
_MISSES = 2
# A probe that took this much longer than it was allowed tells of our own event loop, not of the server.
_OWN_DELAY = 0.2

_NOTHING: Mapping[Key, Counters] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to the server: when it was over, whether it was answered, how long it took and might have taken."""

    at: float
    answered: bool
    seconds: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the probes so far say. ``silent_since``: when the first unanswered question was asked; None: it answers."""

    misses: int = 0
    silent_since: float | None = None

    @property
    def failed(self) -> bool:
        """True when the server must get no work."""
        return self.misses >= _MISSES

    def silent_for(self, now: float) -> float:
        """Seconds without an answer."""
        return 0.0 if self.silent_since is None else now - self.silent_since


def feel(pulse: Pulse, probe: Probe) -> Pulse:
    """Take one probe into account."""
    if probe.answered:
        return Pulse()
    if probe.seconds > probe.allowed + _OWN_DELAY:
        return pulse
    since = pulse.silent_since if pulse.silent_since is not None else probe.at - probe.seconds
    return Pulse(pulse.misses + 1, since)


@dataclass(frozen=True, slots=True)
class Track:
    """One model version: its counters, when they last moved, and its slowest seen mean execution in seconds."""

    counters: Counters
    moved_at: float
    slowest: float = 0.0
    ever: bool = False
    stalled_at: float | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long work may stand still, in seconds.

    A model whose executions take long is given ``executions`` times its slowest seen one; a model that has never
    finished any work is given ``unknown``. A model withdrawn as stalled whose queue was cleared by its callers is
    tried again after ``retry``.
    """

    least: float = 1.5
    executions: float = 5.0
    unknown: float = 30.0
    retry: float = 10.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Every version's track, and the patience they are judged with."""

    patience: Patience
    tracks: Mapping[Key, Track] = field(default_factory=lambda: MappingProxyType({}))

    def stalled(self, now: float) -> Mapping[str, str]:
        """Model names whose work stands still, each with the reason as a sentence."""
        return {
            name: f"{track.counters.pending} requests wait and none has ended for {now - track.moved_at:.1f} s."
            for (name, _), track in self.tracks.items()
            if track.stalled_at is not None
        }


def advance(
    progress: Progress, counters: Mapping[Key, Counters], now: float, *, patient: Collection[str] = ()
) -> Progress:
    """Take one reading of the counters into account; ``patient`` are models that are given ``unknown`` at least."""
    slow = replace(progress.patience, least=max(progress.patience.least, progress.patience.unknown))
    tracks = {
        key: _step(progress.tracks.get(key), seen, now, slow if key[0] in patient else progress.patience)
        for key, seen in counters.items()
    }
    return replace(progress, tracks=MappingProxyType(tracks))


def _step(track: Track | None, seen: Counters, now: float, patience: Patience) -> Track:
    if track is None:
        return Track(seen, now, ever=seen.success > 0)
    done = seen.since(track.counters)
    if done.success or done.failure or done.executions or seen.success < track.counters.success:
        mean = done.compute_micros / 1e6 / done.success if done.success else 0.0
        return Track(seen, now, max(track.slowest, mean), ever=track.ever or done.success > 0)
    if track.stalled_at is not None:
        if seen.pending == 0 and now - track.stalled_at >= patience.retry:
            return replace(track, counters=seen, moved_at=now, stalled_at=None)
        return replace(track, counters=seen)
    if seen.pending == 0:
        return replace(track, counters=seen, moved_at=now)
    limit = max(patience.least, patience.executions * track.slowest) if track.ever else patience.unknown
    return replace(track, counters=seen, stalled_at=now if now - track.moved_at > limit else None)
