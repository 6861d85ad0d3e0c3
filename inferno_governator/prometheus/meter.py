"""What nodes did, from what Prometheus scraped: counters become windows with the work done in them.

Pure: a :class:`Meter` is given each scrape once, in order, and remembers of each series only its last value. A counter
that fell was set back to zero by a restart, and all of it is new. One that is new on a target that was scraped before
began at zero; on a target never seen, what it counted before is nobody's. A scrape that failed leaves a longer window:
nothing that was counted is lost. Beyond what a window may speak for there is a gap, which is counted.
"""

from __future__ import annotations

import bisect
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from inferno_governator.prometheus.client import RawSeries
from inferno_governator.prometheus.vocabulary import AGENT, MEANINGS, Meaning, Subject, field_of, subject_name

# Milliseconds. Counters that go on counting prove that their process lived, up to what a window may be; a gauge says
# nothing about times long before it, and Prometheus itself gives a value up after these five minutes.
STALE = 5 * 60_000
LONGEST = 60 * 60_000
# No increase of one window comes near it.
_MOST = 2**48
_NODE = re.compile(r"[^A-Za-z0-9._-]+")
_NODE_LENGTH = 128
_BUSY = 1_000_000

# The ``instance`` label: what Prometheus scrapes at once.
Target = str


class Thing(NamedTuple):
    """A version of a model, or a device (version empty), on a node."""

    node: str
    subject: Subject
    name: str
    version: str


class Window(NamedTuple):
    """What a thing did in a window that ends at ``end`` (Unix milliseconds) and is ``length`` milliseconds long."""

    end: int
    length: int
    values: Mapping[str, int]


@dataclass
class Taken:
    """What some scrapes have told. ``refused`` samples by reason; ``gap`` is in milliseconds of single series."""

    windows: dict[Thing, list[Window]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    gap: int = 0


@dataclass
class _Cell:
    """What one scrape told of a thing; ``reset`` when a counter of it fell."""

    values: dict[str, int] = field(default_factory=dict)
    exporter: int = 0
    reset: bool = False


_Key = tuple[Target, Thing]
_Cells = dict[_Key, dict[int, _Cell]]
_SeriesId = tuple[Target, str, frozenset[tuple[str, str]]]


class Meter:
    """Follows counters. ``node_label`` names the label that tells a target's node."""

    def __init__(self, node_label: str) -> None:
        self._node_label = node_label
        self._last: dict[_SeriesId, tuple[int, int]] = {}
        # When each target, and each thing on it, was last scraped.
        self._scraped: dict[Target, int] = {}
        self._before: dict[_Key, int] = {}
        # Until when each thing's time is told, whichever target told it.
        self._covered: dict[Thing, int] = {}
        # Names of GPUs by node and UUID.
        self.gpus: dict[str, dict[str, str]] = defaultdict(dict)

    def take(self, series: Iterable[RawSeries], stored: Mapping[str, int], read: int) -> Taken:
        """Take in what was scraped after the last time.

        Args:
            series: Every series of some time, each sample later than all before.
            stored: Until when (Unix milliseconds) windows of nodes are stored: what ends by then is not told again.
            read: Until when that is so of every node.
        """
        taken = Taken()
        mine = _once(list(series))
        times = self._times(mine)
        cells: _Cells = defaultdict(lambda: defaultdict(_Cell))
        for one in mine:
            self._read(one, times[one.labels["instance"]], cells, taken)
        pieces: dict[Thing, list[tuple[int, Target, Window]]] = defaultdict(list)
        for (target, thing), cell in cells.items():
            for exporter, window in self._windows((target, thing), cell, times[target], taken):
                pieces[thing].append((exporter, target, window))
        for thing, told in pieces.items():
            windows = self._together(thing, told, max(read, stored.get(thing.node, 0)))
            if windows:
                taken.windows[thing] = windows
        for target, seen in times.items():
            self._scraped[target] = seen[-1]
        self._forget()
        return taken

    def _times(self, series: Iterable[RawSeries]) -> dict[Target, list[int]]:
        """When each target was scraped, and once before."""
        times: dict[Target, set[int]] = defaultdict(set)
        for one in series:
            target = one.labels["instance"]
            times[target].update(at for at, _ in one.samples)
            if target in self._scraped:
                times[target].add(self._scraped[target])
        return {target: sorted(found) for target, found in times.items()}

    def _read(self, series: RawSeries, times: list[int], cells: _Cells, taken: Taken) -> None:
        meaning = MEANINGS[series.name]
        target = series.labels["instance"]
        thing = self._thing(series, meaning, taken)
        if thing is None:
            return
        if thing.subject == "gpu" and (model := series.labels.get("modelName")):
            self.gpus[thing.node][thing.name] = model
        cell_of = cells[target, thing]
        name = field_of(series.name, meaning, series.labels)
        identity = (target, series.name, frozenset(series.labels.items()))
        last = self._last.get(identity)
        for at, number in series.samples:
            # Rounded before it is subtracted: what is rounded away in one window is in the next.
            value = round(number * meaning.unit) if _possible(series, meaning, number, taken) else None
            if value is None or (last is not None and at <= last[0]):
                continue
            cell = cell_of[at]
            cell.exporter = meaning.exporter
            if not meaning.counter:
                _combine(cell, name, value, meaning)
                continue
            before = last[1] if last is not None else self._born(at, times)
            increase = 0 if before is None else value - before if value >= before else value
            if increase > _MOST:
                # Nor is it what the next increase is counted from.
                _refuse(taken, "too_large", f"{series.name} of {target} grew by {increase} at once")
                continue
            last = (at, value)
            if before is not None:
                cell.reset = cell.reset or value < before
                _combine(cell, name, increase, meaning)
        if last is not None:
            self._last[identity] = last

    @staticmethod
    def _born(at: int, times: list[int]) -> int | None:
        """Zero for a counter that was not there at the scrape before; None where there was none shortly before."""
        index = bisect.bisect_left(times, at)
        return 0 if index and at - times[index - 1] <= STALE else None

    def _thing(self, series: RawSeries, meaning: Meaning, taken: Taken) -> Thing | None:
        labels = series.labels
        name, version = subject_name(meaning, labels)
        if not name:
            _refuse(taken, "no_name", f"{series.name} of {labels['instance']} names no {meaning.subject}")
            return None
        node = labels.get(self._node_label) or labels["instance"]
        if node == labels["instance"]:
            # One node may have several targets: a model server, and an exporter for its GPUs.
            node = re.sub(r":\d+$", "", node)
        node = _NODE.sub("-", node).strip("-")[:_NODE_LENGTH]
        if not node:
            _refuse(taken, "no_node", f"{series.name} names no node in its label {self._node_label!r}")
            return None
        return Thing(node, meaning.subject, name, version)

    def _windows(
        self, key: _Key, cells: Mapping[int, _Cell], times: list[int], taken: Taken
    ) -> Iterable[tuple[int, Window]]:
        thing = key[1]
        before = self._before.get(key)
        for at in sorted(cells):
            cell = cells[at]
            start = before
            if start is None and (index := bisect.bisect_left(times, at)):
                start = times[index - 1]
            before = self._before[key] = at
            if start is None:
                continue
            known = LONGEST if thing.subject == "model" and not cell.reset else STALE
            length = min(at - start, known)
            taken.gap += at - start - length
            yield cell.exporter, Window(at, length, _finished(thing, cell.values, length))

    def _together(self, thing: Thing, told: list[tuple[int, Target, Window]], stored: int) -> list[Window]:
        """Windows of several targets as those of one thing, none over another: work adds up, a device has one voice."""
        if thing.subject != "model":
            voice = min((exporter, target) for exporter, target, _ in told)
            told = [each for each in told if each[:2] == voice]
        covered = self._covered.get(thing, 0)
        windows: list[Window] = []
        for _, _, window in sorted(told, key=lambda each: (each[2].end, each[1])):
            if window.end <= stored:
                covered = max(covered, window.end)
                continue
            if window.end > covered or not windows:
                windows.append(window._replace(length=max(1, min(window.length, window.end - covered))))
                covered = max(covered, window.end)
            else:
                windows[-1] = windows[-1]._replace(values=_added(windows[-1].values, window.values))
        self._covered[thing] = covered
        return windows

    def _forget(self) -> None:
        """Forget targets that have not been scraped for as long as any window may be."""
        if not self._scraped:
            return
        oldest = max(self._scraped.values()) - LONGEST
        gone = {target for target, at in self._scraped.items() if at < oldest}
        if gone:
            self._scraped = {target: at for target, at in self._scraped.items() if target not in gone}
            self._last = {key: value for key, value in self._last.items() if key[0] not in gone}
            self._before = {key: at for key, at in self._before.items() if key[0] not in gone}
            self._covered = {thing: at for thing, at in self._covered.items() if at >= oldest}
            nodes = {thing.node for thing in self._covered}
            self.gpus = defaultdict(dict, {node: gpus for node, gpus in self.gpus.items() if node in nodes})


def _once(series: list[RawSeries]) -> list[RawSeries]:
    """Each target's series once, also where two jobs scrape it; none of an agent's page, whose telemetry comes from it
    directly."""
    agents = {one.labels.get("instance") for one in series if one.name == AGENT}
    job: dict[str, str] = {}
    for one in series:
        instance = one.labels.get("instance", "")
        job[instance] = min(job.get(instance, one.labels.get("job", "")), one.labels.get("job", ""))
    return [
        one
        for one in series
        if (target := one.labels.get("instance", ""))
        and target not in agents
        and one.labels.get("job", "") == job[target]
    ]


def _possible(series: RawSeries, meaning: Meaning, number: float, taken: Taken) -> bool:
    where = f"{series.name} of {series.labels['instance']} is {number:g}"
    if not math.isfinite(number):
        _refuse(taken, "not_finite", where)
    elif number < 0:
        _refuse(taken, "negative", where)
    elif meaning.field == "busy" and number * meaning.unit > _BUSY:
        _refuse(taken, "above_whole", where)
    else:
        return True
    return False


def _refuse(taken: Taken, reason: str, example: str) -> None:
    taken.refused[reason] += 1
    taken.examples.setdefault(reason, example)


def _combine(cell: _Cell, name: str, value: int, meaning: Meaning) -> None:
    old = cell.values.get(name, 0)
    cell.values[name] = max(old, value) if meaning.combine == "max" else old + value


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _finished(thing: Thing, values: Mapping[str, int], length: int) -> dict[str, int]:
    """What follows from the values told: see the fields of telemetry.proto."""
    told = dict(values)
    if thing.subject == "model":
        running = told.pop("running_micros", None)
        if running is not None:
            # Requests of one batch run at the same time: their engine was not busy for longer than the window.
            told["compute_micros"] = min(running, length * 1000)
            told["errors"] = told.get("client_errors", 0) + told.get("server_errors", 0)
        told.setdefault("inferences", told.get("requests", 0))
        return told
    free, milliwatts = told.pop("memory_free", 0), told.pop("milliwatts", 0)
    told.setdefault("memory_total", told.get("memory_used", 0) + free)
    told.setdefault("millijoules", milliwatts * length // 1000)
    return told
