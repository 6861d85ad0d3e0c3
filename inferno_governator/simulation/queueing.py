"""Requests one by one through the nodes of a fleet: least-request balancing, continuous batching, queues.

A request goes to the serving node with the fewest requests for what it can do, and among equals to the one that got its
last request longest ago. It joins that node's batch when there is room, and waits there, first come first served, when
there is none. All in a batch step together (``curves``), so a node has a clock of steps: a request that joins at step
``v`` and needs ``w`` of them is done when the clock shows ``v + w``, however often others come and go. That makes each
arrival and each end cost the logarithm of the batch, not its size.

Where no node serves, a request is refused at once, as the proxy does it. One that has waited longer than its patience
when its turn comes is refused too. A node that is lost gives its requests to the others, and they begin anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from inferno_governator.simulation.curves import FULL, Curve, Demand
from inferno_governator.simulation.load import Loads, Served, Window
from inferno_governator.simulation.trace import RequestTrace

_NEVER = float("inf")
# Weight of "longest ago" beside the number of requests: too small ever to outweigh one.
_TURN = 1e-9


class _Node:
    """One node's batch, queue and clock of steps."""

    __slots__ = (
        "base", "batch", "clock", "door", "drawn", "due", "free", "given", "kind", "load", "name", "queue", "speeds",
        "told", "turn", "weight",
    )  # fmt: skip

    def __init__(self, name: str, kind: int, curve: Curve, weight: float) -> None:
        self.name, self.kind, self.weight = name, kind, weight
        self.base, self.speeds = curve.base, curve.speeds
        # Requests in the batch by the step at which they are done.
        self.batch: list[tuple[float, int]] = []
        self.queue: deque[int] = deque()
        # Steps done, and the time at which that was reckoned.
        self.clock, self.told = 0.0, 0.0
        self.free, self.load = 1.0, 0.0
        self.due = _NEVER
        # Place among the doors that are open; -1 for none.
        self.door = -1
        # Its turn when it last got a request.
        self.turn = 0
        # Requests given to it since the window began, and whether it is to end when empty.
        self.given, self.drawn = 0, False

    def seconds(self) -> float:
        """Of a step, with what is in the batch."""
        return 1 / self.speeds[len(self.batch) - 1] if self.speeds else self.base + self.load


@dataclass(slots=True)
class _Asked:
    """What requests ask of one kind of node, as lists: an element of an array costs ten times that of a list."""

    steps: list[float]
    room: list[float]
    load: list[float]
    first: list[float]

    @classmethod
    def of(cls, demand: Demand) -> _Asked:
        return cls(demand.steps.tolist(), demand.room.tolist(), demand.load.tolist(), demand.first.tolist())


class RequestLoads(Loads):
    """A trace of requests on its way through nodes. Arrays in the answer are by request.

    Args:
        trace: The requests.
        curves: What a node of each kind does.
        patience: Seconds after which a request that still waits is refused.
        network: Seconds that the way to nodes of each kind and back takes; none without.
    """

    def __init__(
        self, trace: RequestTrace, curves: Sequence[Curve], patience: float, network: Sequence[float] = ()
    ) -> None:
        self._at: list[float] = trace.at.tolist()
        self._curves = curves
        self._network = list(network) or [0.0] * len(curves)
        self._patience = patience
        demands = [curve.demand(trace.inputs, trace.outputs) for curve in curves]
        self._asked = [_Asked.of(demand) for demand in demands]
        self._latency = np.full(len(self._at), np.nan).tolist()
        self._first = np.full(len(self._at), np.nan).tolist()
        self._next = 0
        self._coming: list[tuple[float, int, _Node]] = []
        self._nodes: dict[str, _Node] = {}
        self._open: list[_Node] = []
        self._pressure: list[float] = []
        self._turn = self._expected = 0
        self._retried = 0
        self._done = [0] * len(curves)
        self._emptied: list[tuple[str, float]] = []
        self._window_begin, self._window_first = 0.0, 0
        self._recent: list[int] = []

    def add(self, name: str, kind: int, weight: float, at: float) -> None:
        node = _Node(name, kind, self._curves[kind], 1 / weight)
        node.told = at
        self._nodes[name] = node
        node.door = len(self._open)
        self._open.append(node)
        self._pressure.append(0.0)
        self._set_pressure(node)

    def drain(self, name: str, at: float) -> None:
        node = self._nodes[name]
        self._shut(node)
        node.drawn = True
        if not node.batch and not node.queue:
            self._leave(node, at)

    def lose(self, name: str, at: float) -> None:
        node = self._nodes.pop(name)
        self._shut(node)
        node.due = _NEVER
        left = [*(request for _, request in sorted(node.batch)), *node.queue]
        self._retried += len(left)
        for request in left:
            self._give(request, at)

    def advance(self, until: float) -> list[tuple[str, float]]:
        times, coming = self._at, self._coming
        at, count = self._next, len(times)
        arrival = times[at] if at < count else _NEVER
        while True:
            end = coming[0][0] if coming else _NEVER
            if arrival < end:
                if arrival > until:
                    break
                self._give(at, arrival)
                at += 1
                arrival = times[at] if at < count else _NEVER
            else:
                if not coming or end > until:
                    break
                moment, _, node = heappop(coming)
                if node.due == moment:
                    self._finish(node, moment)
        self._next = at
        emptied, self._emptied = self._emptied, []
        return emptied

    def _shut(self, node: _Node) -> None:
        if node.door < 0:
            return
        last = self._open.pop()
        pressure = self._pressure.pop()
        if last is not node:
            self._open[node.door], self._pressure[node.door], last.door = last, pressure, node.door
        node.door = -1

    def _leave(self, node: _Node, at: float) -> None:
        del self._nodes[node.name]
        self._emptied.append((node.name, at))

    def _set_pressure(self, node: _Node) -> None:
        if node.door >= 0:
            active = len(node.batch) + len(node.queue)
            self._pressure[node.door] = (active + 1 + node.turn * _TURN) * node.weight

    def _give(self, request: int, at: float) -> None:
        if not self._open:
            return
        pressure = self._pressure
        node = self._open[pressure.index(min(pressure))]
        node.given += 1
        self._turn += 1
        node.turn = self._turn
        if not node.queue and node.free + FULL >= self._asked[node.kind].room[request]:
            self._join(node, request, at)
            self._expect(node, at)
        else:
            node.queue.append(request)
        self._set_pressure(node)

    def _tick(self, node: _Node, at: float) -> None:
        """Bring the clock of steps up to a moment."""
        if node.batch:
            node.clock += (at - node.told) / node.seconds()
        node.told = at

    def _join(self, node: _Node, request: int, at: float) -> None:
        self._tick(node, at)
        asked = self._asked[node.kind]
        if not node.batch:
            node.clock, node.free, node.load = 0.0, 1.0, 0.0
        heappush(node.batch, (node.clock + asked.steps[request], request))
        node.free -= asked.room[request]
        node.load += asked.load[request]
        self._first[request] = at - self._at[request] + asked.first[request] * node.seconds() + self._network[node.kind]

    def _expect(self, node: _Node, at: float) -> None:
        """Reckon anew when the next of a batch is done."""
        if not node.batch:
            node.due = _NEVER
            return
        node.due = at + max(0.0, node.batch[0][0] - node.clock) * node.seconds()
        self._expected += 1
        heappush(self._coming, (node.due, self._expected, node))

    def _finish(self, node: _Node, at: float) -> None:
        asked = self._asked[node.kind]
        self._tick(node, at)
        node.clock = max(node.clock, node.batch[0][0])
        _, request = heappop(node.batch)
        node.free += asked.room[request]
        node.load -= asked.load[request]
        self._latency[request] = at - self._at[request] + self._network[node.kind]
        self._done[node.kind] += 1
        self._recent.append(request)
        queue = node.queue
        while queue and (not node.batch or node.free + FULL >= asked.room[queue[0]]):
            waiting = queue.popleft()
            if at - self._at[waiting] <= self._patience:
                self._join(node, waiting, at)
        self._expect(node, at)
        self._set_pressure(node)
        if node.drawn and not node.batch and not queue:
            self._leave(node, at)

    def running(self, name: str) -> float:
        node = self._nodes.get(name)
        return float(len(node.batch) + len(node.queue)) if node else 0.0

    def given(self, name: str) -> float:
        node = self._nodes.get(name)
        return float(node.given) if node else 0.0

    def window(self, at: float) -> Window:
        seconds = max(at - self._window_begin, 1e-9)
        came = self._next - self._window_first
        recent = np.array(self._recent, dtype=int)
        latency, first = (np.array([each[one] for one in recent]) for each in (self._latency, self._first))
        queued = sum(len(node.queue) for node in self._nodes.values())
        self._window_begin, self._window_first, self._recent = at, self._next, []
        return Window(came / seconds, float(queued), latency, first, np.ones(len(recent)))

    def begin_window(self) -> None:
        for node in self._nodes.values():
            node.given = 0

    def served(self) -> Served:
        latency, first = np.array(self._latency), np.array(self._first)
        done = np.isfinite(latency)
        return Served(
            at=np.array(self._at),
            latency=latency,
            first=np.where(done, first, np.nan),
            weight=np.ones(len(latency)),
            requests=float(len(latency)),
            retried=float(self._retried),
            by_kind=tuple(float(each) for each in self._done),
        )
