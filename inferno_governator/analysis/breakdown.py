"""A bill broken down by any of its dimensions. The lines add up to the bill exactly, whatever they are grouped by."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from operator import attrgetter

from inferno_governator.analysis.items import Item, Purpose

_HOUR_MINUTES = 60
_DAY_MINUTES = 1440


class Dimension(Enum):
    """What a bill may be grouped by; the value is the word that people write."""

    NODE = "node"
    MODEL = "model"
    VERSION = "version"
    TEAM = "team"
    KEY = "key"
    REGION = "region"
    GPU = "gpu"
    INSTANCE = "instance"
    SPOT = "spot"
    PURPOSE = "purpose"
    DAY = "day"
    HOUR = "hour"
    PROVIDER = "provider"
    COMMITMENT = "commitment"


_ORDER = (Purpose.WORK, Purpose.IDLE, Purpose.OVERHEAD, Purpose.UNUSED)
# Idleness and overhead have none of these: they are lines of their own where a bill is grouped by one.
OF_WORK = frozenset({Dimension.MODEL, Dimension.VERSION, Dimension.TEAM, Dimension.KEY})
OF_TIME = frozenset({Dimension.DAY, Dimension.HOUR})


@functools.lru_cache(maxsize=4096)
def _moment(minute: int, form: str) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime(form)


def _day(item: Item) -> str:
    return _moment(item.start_minute // _DAY_MINUTES * _DAY_MINUTES, "%Y-%m-%d")


def _hour(item: Item) -> str:
    return _moment(item.start_minute // _HOUR_MINUTES * _HOUR_MINUTES, "%Y-%m-%dT%H:%MZ")


_VALUES: Mapping[Dimension, Callable[[Item], str]] = {
    Dimension.NODE: attrgetter("node"),
    Dimension.MODEL: attrgetter("model"),
    Dimension.VERSION: attrgetter("version"),
    Dimension.TEAM: attrgetter("team"),
    Dimension.KEY: attrgetter("key"),
    Dimension.REGION: attrgetter("facts.region"),
    # A CPU is no GPU, but what computes on such a node; the device's name is what tells nodes apart.
    Dimension.GPU: attrgetter("facts.device"),
    Dimension.INSTANCE: attrgetter("facts.instance_type"),
    Dimension.SPOT: lambda item: "spot" if item.facts.spot else "on-demand",
    Dimension.PURPOSE: lambda item: item.purpose.value,
    Dimension.DAY: _day,
    Dimension.HOUR: _hour,
    Dimension.PROVIDER: attrgetter("facts.provider"),
    Dimension.COMMITMENT: attrgetter("facts.commitment"),
}


@dataclass(slots=True)
class Sums:
    """What some items add up to. Times are in microseconds, money in micro-dollars."""

    cost_micros: int = 0
    # Parts of the cost.
    idle_micros: int = 0
    overhead_micros: int = 0
    # Of it, what was paid for commitments that nobody used.
    unused_micros: int = 0
    # Time of nodes that was paid for, and the part of it in which models computed.
    paid_micros: int = 0
    worked_micros: int = 0
    requests: int = 0
    errors: int = 0
    inferences: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    request_micros: int = 0
    queue_micros: int = 0
    compute_micros: int = 0

    @property
    def tokens(self) -> int:
        """Tokens read and written; zero where unknown."""
        return self.input_tokens + self.output_tokens

    def add(self, item: Item) -> None:
        """Count one item."""
        self.cost_micros += item.cost_micros
        self.paid_micros += item.paid_micros
        if item.purpose is Purpose.WORK:
            self.worked_micros += item.paid_micros
            self.requests += item.requests
            self.errors += item.errors
            self.inferences += item.inferences
            self.input_tokens += item.input_tokens
            self.output_tokens += item.output_tokens
            self.request_micros += item.request_micros
            self.queue_micros += item.queue_micros
            self.compute_micros += item.compute_micros
        elif item.purpose is Purpose.IDLE:
            self.idle_micros += item.cost_micros
        elif item.purpose is Purpose.OVERHEAD:
            self.overhead_micros += item.cost_micros
        else:
            self.unused_micros += item.cost_micros


_FIELDS = {each.name: attrgetter(each.name) for each in fields(Sums)}


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its place in each dimension, and its sums.

    ``purpose`` is None where work, idleness and overhead are in one line; what is unused of commitments is in it only
    where a bill is not grouped at all. ``others`` counts the lines that are folded into this one; its values are then
    empty.
    """

    values: tuple[str, ...]
    purpose: Purpose | None
    sums: Sums
    others: int = 0


# What a line is known by: its values, and its purpose.
Key = tuple[tuple[str, ...], Purpose | None]
Filters = Mapping[Dimension, Collection[str]]


class Breakdown:
    """Adds items up by dimensions, in any number of pieces, and gives the lines.

    ``where`` names, for dimensions, the values that count; items with others are only in :attr:`bill`.
    """

    def __init__(self, by: Sequence[Dimension], where: Filters | None = None) -> None:
        self.by = tuple(by)
        # Cost of all items, also of those that are filtered out.
        self.bill_micros = 0
        self._values = tuple(_VALUES[dimension] for dimension in self.by)
        self._where = tuple((_VALUES[dimension], frozenset(wanted)) for dimension, wanted in (where or {}).items())
        self._apart = not OF_WORK.isdisjoint(self.by)
        self._sums: dict[Key, Sums] = {}

    def add(self, items: Iterable[Item]) -> list[tuple[Key, Item]]:
        """Count items; returns those that the filters let through, each with what its line is known by."""
        every = list(items)
        self.bill_micros += sum(item.cost_micros for item in every)
        for value, known in self._where:
            every = [item for item in every if value(item) in known]
        kept = [(self._key(item), item) for item in every]
        found = self._sums
        for key, item in kept:
            sums = found.get(key)
            if sums is None:
                sums = found[key] = Sums()
            sums.add(item)
        return kept

    def _key(self, item: Item) -> Key:
        apart = self._apart or (self._values and item.purpose is Purpose.UNUSED)
        return tuple([value(item) for value in self._values]), item.purpose if apart else None

    def total(self) -> Sums:
        """What all lines add up to."""
        return merged(self._sums.values())

    def lines(self) -> list[Line]:
        """Lines: by time where they are grouped by it, else the dearest first; idleness and overhead come last."""
        made = [Line(values, purpose, sums) for (values, purpose), sums in self._sums.items()]
        return ordered(self.by, made)


def ordered(by: Sequence[Dimension], lines: Iterable[Line]) -> list[Line]:
    """Lines in the order in which they are shown."""
    times = [at for at, dimension in enumerate(by) if dimension in OF_TIME]

    def place(line: Line) -> tuple[object, ...]:
        return tuple(line.values[at] for at in times), _last(line), -line.sums.cost_micros, line.values

    return sorted(lines, key=place)


def _last(line: Line) -> int:
    """Work first, then idleness, overhead, and what is unused of commitments."""
    return 0 if line.purpose is None else _ORDER.index(line.purpose)


def merged(several: Iterable[Sums]) -> Sums:
    """What several sums add up to."""
    parts = list(several)
    return Sums(**{name: sum(map(get, parts)) for name, get in _FIELDS.items()})


def folded(lines: Sequence[Line], limit: int) -> tuple[list[Line], list[Line]]:
    """The ``limit`` dearest lines, in their order, and the rest."""
    dearest = sorted(range(len(lines)), key=lambda at: (-lines[at].sums.cost_micros, at))
    kept = set(dearest[:limit])
    return [lines[at] for at in sorted(kept)], [line for at, line in enumerate(lines) if at not in kept]
