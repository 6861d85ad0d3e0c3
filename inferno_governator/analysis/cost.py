"""What each node and model did and cost, from minute roll-ups.

A node costs its price for as long as it was measured: in each minute, the longest time any of its series covers, at
most the minute. Its models take their share of that cost by the time they computed against the time measured; what is
left is the idle line. Where requests overlap and the models computed longer than was measured, they share the whole
cost and nothing is idle. The price of a minute is the one in force when the minute began or, for a node's first minute,
the one it came with; before that the price is unknown and the cost zero.

Each minute is billed in whole micro-dollars (:func:`inferno_governator.money.metered`), so that the lines add up to
the total, and the bills of two adjoining periods to the bill of both, exactly.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from inferno_governator.money import apportion, metered

MINUTE_MICROS = 60_000_000
# The model of a node's idle line.
IDLE = ""


class ModelUse(NamedTuple):
    """A model version on a node in a minute."""

    minute: int
    node: str
    model: str
    window_micros: int
    requests: int
    errors: int
    inferences: int
    request_micros: int
    queue_micros: int
    compute_micros: int


class DeviceUse(NamedTuple):
    """A device of a node in a minute."""

    minute: int
    node: str
    window_micros: int
    busy_micros: int


class PriceChange(NamedTuple):
    """A price in micro-dollars an hour, from a minute on."""

    minute: int
    price: int


@dataclass(slots=True)
class Tally:
    """Sums of one line; ``window_micros`` is the time its series cover together."""

    cost_micros: int = 0
    requests: int = 0
    errors: int = 0
    inferences: int = 0
    request_micros: int = 0
    queue_micros: int = 0
    busy_micros: int = 0
    window_micros: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """What one model, or idleness, on one node did and cost. Times are in microseconds."""

    node: str
    model: str
    requests: int
    errors: int
    inferences: int
    mean_latency_micros: int
    mean_queue_micros: int
    utilization: float
    cost_micros: int
    measured_micros: int


class Ledger:
    """Adds usage up, in any number of pieces of whole minutes, and gives the lines."""

    def __init__(self, prices: Mapping[str, Sequence[PriceChange]]) -> None:
        self._prices = prices
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._measured: dict[str, int] = {}

    def add(self, models: Iterable[ModelUse], devices: Iterable[DeviceUse]) -> None:
        """Add all that is known of some minutes; a minute must not be in two pieces."""
        presence: dict[tuple[int, str], int] = {}
        compute: dict[tuple[int, str], dict[str, int]] = {}
        for device in devices:
            key = (device.minute, device.node)
            presence[key] = max(presence.get(key, 0), device.window_micros)
            idle = self._tally(device.node, IDLE)
            idle.busy_micros += device.busy_micros
            idle.window_micros += device.window_micros
        for use in models:
            key = (use.minute, use.node)
            presence[key] = max(presence.get(key, 0), use.window_micros)
            computed = compute.setdefault(key, {})
            computed[use.model] = computed.get(use.model, 0) + use.compute_micros
            self._count(use)
        for (minute, node), covered in presence.items():
            self._bill(minute, node, min(covered, MINUTE_MICROS), compute.get((minute, node), {}))

    def lines(self) -> list[Line]:
        """Lines in the order of node and model, the idle line of a node first."""
        return [self._line(node, model, tally) for (node, model), tally in sorted(self._tallies.items())]

    def _tally(self, node: str, model: str) -> Tally:
        found = self._tallies.get((node, model))
        if found is None:
            found = self._tallies[node, model] = Tally()
        return found

    def _count(self, use: ModelUse) -> None:
        tally = self._tally(use.node, use.model)
        tally.requests += use.requests
        tally.errors += use.errors
        tally.inferences += use.inferences
        tally.request_micros += use.request_micros
        tally.queue_micros += use.queue_micros
        tally.busy_micros += use.compute_micros

    def _bill(self, minute: int, node: str, measured: int, computed: Mapping[str, int]) -> None:
        self._measured[node] = self._measured.get(node, 0) + measured
        cost = metered(price_at(self._prices.get(node, ()), minute), minute * MINUTE_MICROS, measured)
        models = sorted(computed)
        idle = max(0, measured - sum(computed.values()))
        parts = apportion(cost, [*(computed[model] for model in models), idle])
        for model, part in zip([*models, IDLE], parts, strict=True):
            self._tally(node, model).cost_micros += part

    def _line(self, node: str, model: str, tally: Tally) -> Line:
        measured = self._measured[node]
        whole = tally.window_micros if model == IDLE else measured
        return Line(
            node=node,
            model=model,
            requests=tally.requests,
            errors=tally.errors,
            inferences=tally.inferences,
            mean_latency_micros=tally.request_micros // tally.requests if tally.requests else 0,
            mean_queue_micros=tally.queue_micros // tally.requests if tally.requests else 0,
            utilization=tally.busy_micros / whole if whole else 0.0,
            cost_micros=tally.cost_micros,
            measured_micros=measured,
        )


def price_at(history: Sequence[PriceChange], minute: int) -> int:
    """The price in force in a minute, by a history with the oldest change first; zero before the first."""
    at = bisect.bisect_right(history, minute, key=lambda change: change.minute)
    return history[at - 1].price if at else 0
