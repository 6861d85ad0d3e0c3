"""Does the work of every model move? Pure: from readings of Triton's counters and of its models' streams.

Requests that are answered once show in the counters when they end, and are judged by :mod:`inferno_backend.liveness`.
A stream answers again and again and may take minutes; it is judged by the pauses between its responses: it stands
still when it has paused for longer than any pause that was learned from the streams before it, by a margin.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_backend.liveness import Patience, Progress, advance
from inferno_backend.meter import Reading
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_backend.triton.streams import Streams

# Pauses after which the longest one so far is taken as the model's habit.
_LESSONS = 10


@dataclass(frozen=True, slots=True)
class Learned:
    """What the streams of a model version have taught so far: how many ended, with how many pauses, their longest wait
    for a first response and their longest pause after that, in seconds."""

    finished: int = 0
    pauses: int = 0
    first_wait: float = 0.0
    gap: float = 0.0

    @property
    def enough(self) -> bool:
        """True when the longest pause tells how long the next one may be."""
        return self.finished > 0 and self.pauses >= _LESSONS

    def plus(self, streams: Streams) -> Learned:
        """With what one instance's streams have shown."""
        return Learned(
            max(self.finished, streams.finished),
            max(self.pauses, streams.pauses),
            max(self.first_wait, streams.first_wait),
            max(self.gap, streams.gap),
        )


@dataclass(frozen=True, slots=True)
class Work:
    """All that is known of the work of a server's models."""

    patience: Patience
    progress: Progress
    learned: Mapping[Key, Learned] = field(default_factory=lambda: MappingProxyType({}))
    streams: Mapping[Key, tuple[Streams, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def stalled(self, now: float) -> Mapping[str, str]:
        """Model names whose work stands still, each with the reason as a sentence."""
        found = dict(self.progress.stalled(now))
        for key, instances in self.streams.items():
            for streams in instances:
                if reason := still(streams, self.learned[key], self.patience, now):
                    found[key[0]] = reason
        return found


def begin(patience: Patience) -> Work:
    """Nothing is known yet."""
    return Work(patience, Progress(patience))


def take(work: Work, reading: Reading, decoupled: Collection[str]) -> Work:
    """Take one reading into account; ``decoupled`` are the models that answer one request many times."""
    counters: dict[Key, Counters] = {}
    for key, seen in reading.counters.items():
        if key[0] not in decoupled:
            counters[key] = seen
        elif key in reading.streams:
            counters[key] = _moving_with(reading.streams[key], seen)
        # Of one whose streams are out of sight nothing is known until they have ended: it never stands still.
    learned = dict(work.learned)
    for key, instances in reading.streams.items():
        for streams in instances:
            learned[key] = learned.get(key, Learned()).plus(streams)
    return replace(
        work,
        progress=advance(work.progress, counters, reading.at, patient=decoupled),
        learned=MappingProxyType(learned),
        streams=reading.streams,
    )


def _moving_with(instances: Collection[Streams], seen: Counters) -> Counters:
    """The counters of a model that streams: what its streams send is progress as well, and while one of them runs,
    they alone are judged."""
    sent = sum(each.responses + each.finished for each in instances)
    running = any(each.running for each in instances)
    return replace(seen, executions=seen.executions + sent, pending=0 if running else seen.pending)


def still(streams: Streams, learned: Learned, patience: Patience, now: float) -> str:
    """Why the streams of one instance stand still, as a sentence; empty: they move, or there are none.

    They are judged together: a model decides which of its streams goes on, and may let one wait for the others.
    """
    if not streams.open:
        return ""
    paused = any(each.last is not None for each in streams.open)
    if paused:
        since = streams.moved_at
        limit = max(patience.least, patience.executions * learned.gap) if learned.enough else patience.unknown
    else:
        # A first response may take as long as its question is long, whatever the ones before took.
        since = max(streams.moved_at, min(each.began for each in streams.open))
        limit = max(patience.unknown, patience.executions * learned.first_wait)
    if now - since <= limit:
        return ""
    what = "has sent anything" if paused else "has sent a first response"
    return f"{streams.running} streams run and none {what} for {now - since:.1f} s."
