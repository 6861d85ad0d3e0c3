"""The bill as one line for each node and model: items and the use of devices, added up. What is unused of a commitment
is a line of no node under the commitment's name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inferno_governator.analysis.device_use import DeviceTotal
from inferno_governator.analysis.items import Item, Purpose

# The model of the line for what a node cost while none computed.
IDLE = ""


@dataclass(slots=True)
class Tally:
    """Sums of one line; ``known_micros`` is the time of which it is known how busy devices were."""

    cost_micros: int = 0
    requests: int = 0
    errors: int = 0
    inferences: int = 0
    request_micros: int = 0
    queue_micros: int = 0
    busy_micros: int = 0
    known_micros: int = 0
    energy_millijoules: int = 0


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
    # What its devices used, told of idleness alone; 0: not measured.
    energy_millijoules: int


class Lines:
    """Adds items up, in any number of pieces, and gives the lines."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._paid: dict[str, int] = {}

    def add(self, items: Iterable[Item], devices: Iterable[DeviceTotal] = ()) -> None:
        """Add items, and what the devices did meanwhile."""
        for item in items:
            if item.purpose is Purpose.UNUSED:
                self._tallies.setdefault(("", item.facts.commitment), Tally()).cost_micros += item.cost_micros
                continue
            self._paid[item.node] = self._paid.get(item.node, 0) + item.paid_micros
            tally = self._tally(item.node, item.model)
            tally.cost_micros += item.cost_micros
            tally.requests += item.requests
            tally.errors += item.errors
            tally.inferences += item.inferences
            tally.request_micros += item.request_micros
            tally.queue_micros += item.queue_micros
            tally.busy_micros += item.compute_micros
        for device in devices:
            idle = self._tally(device.node, IDLE)
            idle.busy_micros += device.busy_micros
            idle.known_micros += device.known_micros
            idle.energy_millijoules += device.energy_millijoules

    def lines(self) -> list[Line]:
        """Lines in the order of node and model, the idle line of a node first, unused commitments last."""
        places = sorted(self._tallies.items(), key=lambda place: (not place[0][0], place[0]))
        return [self._line(node, model, tally) for (node, model), tally in places]

    def _tally(self, node: str, model: str) -> Tally:
        # Every node has its idle line, also one that was never idle.
        self._tallies.setdefault((node, IDLE), Tally())
        return self._tallies.setdefault((node, model), Tally())

    def _line(self, node: str, model: str, tally: Tally) -> Line:
        paid = self._paid.get(node, 0)
        whole = tally.known_micros if model == IDLE else paid
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
            measured_micros=paid,
            energy_millijoules=tally.energy_millijoules,
        )
