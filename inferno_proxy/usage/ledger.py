"""What was asked and is not acknowledged yet; pure, and whole in one document, so that a restart loses and repeats
nothing.

Envoy's counters only grow. What they grew by since they were read last is added to the entry of its minute and name;
entries are sealed into a numbered batch, one at a time, and the batch stays until it is acknowledged. Whoever keeps the
document before a batch is sent, and sends that batch again after a restart, has each request counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import telemetry_pb2, usage_pb2
from inferno_proxy.usage.counts import Counter, Counts, Who, counts, grown

_MINUTE = 60_000_000
# Half of the time between two readings. Of what was counted in a longer one nobody knows when it was asked.
_HALF = 1_500_000
# Entries of one batch: the governator takes no more.
_BATCH = 500
# Entries that may wait. One is a minute of one caller, model and node: 100 of those wait for three hours.
MOST = 20_000
_FORMAT = 1


class Named(NamedTuple):
    """Who asked what, as the governator knows them."""

    node: str
    model: str
    version: str
    team: str
    key: str


class _Place(NamedTuple):
    minute: int
    named: Named


@dataclass(frozen=True, slots=True)
class _Entry:
    """Counts from one time until another, Unix microseconds, both within one minute."""

    begin: int
    end: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class Sealed:
    """A numbered batch of so many entries, encoded as a TelemetryBatch."""

    sequence: int
    entries: int
    batch: bytes


@dataclass(slots=True)
class Ledger:
    """``incarnation`` numbers this sequence of batches; ``dropped`` entries found no room, or were refused."""

    incarnation: int
    most: int = MOST
    sequence: int = 0
    dropped: int = 0
    sealed: Sealed | None = None
    _read: int = 0
    _begin: int = 0
    _end: int = 0
    _seen: dict[str, dict[Counter, int]] = field(default_factory=dict)
    _waiting: dict[_Place, _Entry] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Entries that are not sealed yet."""
        return len(self._waiting)

    @property
    def lives(self) -> Collection[str]:
        """The Envoys that were read and have not ended."""
        return self._seen.keys()

    def take(self, life: str, shown: Mapping[Counter, int], name: Callable[[Who], Named]) -> bool:
        """Take what an Envoy shows, after :meth:`turn`; False when it counted nothing since."""
        more = grown(self._seen.get(life, {}), shown)
        self._seen[life] = dict(shown)
        for who, asked in counts(more).items():
            self._add(name(who), asked)
        return bool(more)

    def turn(self, now: int) -> None:
        """What is taken from now on was asked up to this time (Unix microseconds)."""
        self._begin, self._end = min(self._read or now - 1, now - 1), now
        self._read = now

    def end(self, life: str) -> None:
        """Forget an Envoy that is gone."""
        self._seen.pop(life, None)

    def _add(self, named: Named, asked: Counts) -> None:
        # All of it belongs to the minute in which most of it was asked: a node counts it there, too.
        minute = (self._end - 1 - min((self._end - self._begin) // 2, _HALF)) // _MINUTE
        begin, end = max(self._begin, minute * _MINUTE), min(self._end, (minute + 1) * _MINUTE)
        place = _Place(minute, named)
        old = self._waiting.get(place)
        if old is not None:
            self._waiting[place] = _Entry(min(begin, old.begin), max(end, old.end), old.counts.plus(asked))
            return
        if len(self._waiting) >= self.most:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1
        self._waiting[place] = _Entry(begin, end, asked)

    def seal(self, sender: str) -> Sealed | None:
        """The batch to send: the one not acknowledged yet, or a new one of the oldest entries; None when there is
        nothing to tell."""
        if self.sealed is None and self._waiting:
            places = list(self._waiting)[:_BATCH]
            self.sequence += 1
            batch = telemetry_pb2.TelemetryBatch(
                node_id=sender,
                incarnation=self.incarnation,
                sequence=self.sequence,
                samples=[_sample(place.named, self._waiting.pop(place)) for place in places],
                dropped_samples=self.dropped,
            )
            self.sealed = Sealed(self.sequence, len(places), batch.SerializeToString())
        return self.sealed

    def acknowledge(self, sequence: int) -> None:
        """Everything up to this batch is stored."""
        if self.sealed is not None and self.sealed.sequence <= sequence:
            self.sealed = None

    def give_up(self) -> None:
        """The batch will never be taken: everything behind it would wait for ever."""
        if self.sealed is not None:
            self.dropped += self.sealed.entries
            self.sealed = None

    def document(self) -> dict[str, object]:
        """All of it, for a file."""
        sealed = self.sealed
        return {
            "format": _FORMAT,
            "incarnation": self.incarnation,
            "sequence": self.sequence,
            "dropped": self.dropped,
            "read": self._read,
            "sealed": None if sealed is None else [sealed.sequence, sealed.entries, sealed.batch.hex()],
            "seen": {life: [[*each, value] for each, value in shown.items()] for life, shown in self._seen.items()},
            "waiting": [
                [place.minute, place.named, entry.begin, entry.end, entry.counts]
                for place, entry in self._waiting.items()
            ],
        }

    @staticmethod
    def of(document: Any) -> Ledger:
        """What :meth:`document` gave.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']!r} is not {_FORMAT}")
        sealed = document["sealed"]
        ledger = Ledger(
            int(document["incarnation"]),
            sequence=int(document["sequence"]),
            dropped=int(document["dropped"]),
            sealed=None if sealed is None else Sealed(int(sealed[0]), int(sealed[1]), bytes.fromhex(sealed[2])),
        )
        ledger._read = int(document["read"])
        ledger._seen = {life: _shown(rows) for life, rows in document["seen"].items()}
        for minute, named, begin, end, (*numbers, latency) in document["waiting"]:
            place = _Place(int(minute), Named(*map(str, named)))
            # An older version counted less.
            unknown = [0] * (len(Counts._fields) - 1 - len(numbers))
            asked = Counts._make((*map(int, numbers), *unknown, tuple(map(int, latency))))
            ledger._waiting[place] = _Entry(int(begin), int(end), asked)
        return ledger


def _shown(rows: Iterable[Any]) -> dict[Counter, int]:
    return {Counter(*map(str, labels)): int(value) for *labels, value in rows}


def _sample(named: Named, entry: _Entry) -> telemetry_pb2.Sample:
    time, window = Timestamp(), Duration()
    time.FromMicroseconds(entry.end)
    window.FromMicroseconds(entry.end - entry.begin)
    return telemetry_pb2.Sample(
        time=time,
        window=window,
        requests=usage_pb2.RequestSample(**named._asdict(), **entry.counts._asdict()),
    )
