"""A fleet and a data plane in virtual time: events in a heap, chance from a seed, nothing that waits.

Nodes are queues with so many places and a service time each. The data plane chooses as Envoy does (the less busy of two
while all weights are equal, else by weight over calls under way), hedges as it is advised, and reports its tries and
counts to a learner twice a second. Advice takes effect at most once a second, as the publisher lets it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from inferno_proxy.feedback.advice import FULL_WEIGHT, Advice
from inferno_proxy.feedback.learner import Learner
from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import (
    Address,
    FleetView,
    Load,
    Member,
    Model,
    ModelLoad,
    ModelState,
    ModelVersion,
    Node,
    Phase,
    Source,
)
from inferno_proxy.supervisor.act import Act

MODEL = "m"
_RETRIES = 3


@dataclass
class SimNode:
    """A model server: ``seconds`` draws how long one call takes, ``places`` how many run side by side."""

    name: str
    seconds: Callable[[random.Random], float]
    places: int = 4
    hangs: bool = False
    # What the node says of itself: given its true load, the one it reports. None: it reports nothing.
    says: Callable[[ModelLoad], ModelLoad] | None = None
    address: Address = Address("", 0)
    running: int = 0
    held: int = 0
    waiting: deque[SimTry] = field(default_factory=deque)
    completed: int = 0
    spent: float = 0.0
    ended: int = 0


@dataclass
class Call:
    """One call of a caller, and its tries."""

    started: float
    size: int
    tries: list[SimTry] = field(default_factory=list)
    answered: float | None = None

    @property
    def seconds(self) -> float:
        return float("inf") if self.answered is None else self.answered - self.started


@dataclass
class SimTry:
    call: Call
    node: SimNode
    started: float
    attempt: int
    over: bool = False


def takes(seconds: float, spread: float = 0.3) -> Callable[[random.Random], float]:
    """A service time around ``seconds``; ``spread`` is the standard deviation of its logarithm."""
    return lambda chance: seconds * chance.lognormvariate(0.0, spread)


class Simulation:
    """A fleet of one model under a load of ``rate`` calls a second."""

    def __init__(
        self,
        nodes: list[SimNode],
        rate: float,
        *,
        seed: int = 1,
        sizes: Callable[[random.Random], int] = lambda _: 100,
        budget: float = 0.02,
    ) -> None:
        self.now = 1000.0
        self.rate = rate
        self.nodes = nodes
        self.calls: list[Call] = []
        self.acts: list[tuple[float, Act]] = []
        self.advice = Advice()
        self.learner = Learner(lambda _: budget)
        self.tries = 0
        self._sizes = sizes
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._seen: list[Try] = []
        self._counts: dict[str, list[int]] = {}
        self._serial = 1
        self._published = 0.0
        for number, node in enumerate(nodes):
            node.address = Address(f"10.0.0.{number + 1}", 8001)
        self._after(0.0, self._arrive)
        self._after(0.25, self._look)

    # ------------------------------------------------------------------------------------------------ what a test asks

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, happen = heapq.heappop(self._events)
            happen()
        self.now = until

    def since(self, start: float) -> list[Call]:
        """Calls that began at ``start`` or later and have been answered."""
        return [call for call in self.calls if call.started >= start and call.answered is not None]

    def p99(self, start: float, until: float = float("inf")) -> float:
        """The slowest hundredth of the calls that began in this time, answered or not."""
        found = sorted(
            self.now - call.started if call.answered is None else call.seconds
            for call in self.calls
            if start <= call.started < until
        )
        return found[int(0.99 * len(found))]

    def share(self, name: str, start: float) -> float:
        """Which part of the first tries since ``start`` a node got."""
        firsts = [call.tries[0].node.name for call in self.calls if call.started >= start and call.tries]
        return firsts.count(name) / len(firsts)

    def repeated(self, start: float) -> float:
        """Tries beyond the first, as a part of the calls since ``start``."""
        calls = [call for call in self.calls if call.started >= start]
        return sum(len(call.tries) - 1 for call in calls) / len(calls)

    def kinds(self) -> list[str]:
        return [act.kind for _, act in self.acts]

    def weight(self, name: str) -> int:
        return self.advice.weights.get((MODEL, name), FULL_WEIGHT)

    # ---------------------------------------------------------------------------------------------------------- events

    def _after(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), happen))

    def _arrive(self) -> None:
        call = Call(self.now, self._sizes(self._chance))
        self.calls.append(call)
        self._send(call)
        self._after(self._chance.expovariate(self.rate), self._arrive)

    def _send(self, call: Call) -> None:
        node = self._choose({each.node.name for each in call.tries})
        one = SimTry(call, node, self.now, len(call.tries) + 1)
        call.tries.append(one)
        self.tries += 1
        self._count(node)[0] += 1
        node.held += 1
        node.waiting.append(one)
        self._work(node)
        after = self.advice.hedge_after.get(MODEL, 0.0)
        if after and one.attempt <= _RETRIES:
            self._after(after, lambda: self._send(call) if call.answered is None else None)

    def _choose(self, used: set[str]) -> SimNode:
        there = [node for node in self.nodes if (MODEL, node.name) not in self.advice.stuck] or self.nodes
        if not self.advice.weights:
            for _ in range(6):
                pair = [self._chance.choice(there), self._chance.choice(there)]
                chosen = min(pair, key=self._busy)
                if chosen.name not in used:
                    return chosen
            return chosen
        fresh = [node for node in there if node.name not in used] or there
        return self._chance.choices(fresh, [self.weight(n.name) / (self._busy(n) + 1) for n in fresh])[0]

    @staticmethod
    def _busy(node: SimNode) -> int:
        return node.running + len(node.waiting)

    def _work(self, node: SimNode) -> None:
        while not node.hangs and node.waiting and node.running < node.places:
            one = node.waiting.popleft()
            if one.over:
                continue
            node.running += 1
            seconds = node.seconds(self._chance) * max(1.0, one.call.size / 100)
            self._after(seconds, lambda one=one, seconds=seconds: self._done(one, seconds))  # type: ignore[misc]

    def _done(self, one: SimTry, seconds: float) -> None:
        node = one.node
        if node.hangs:
            return
        node.running -= 1
        node.completed += 1
        node.spent += self.now - one.started
        node.ended += 1
        self._work(node)
        if one.over:
            return
        one.call.answered = self.now
        self._count(node)[1] += 1
        for each in one.call.tries:
            if not each.over:
                each.over = True
                each.node.held -= 1
                outcome = Outcome.ANSWERED if each is one else Outcome.CANCELLED
                lasted = self.now - each.started
                self._seen.append(Try(MODEL, each.node.address, outcome, lasted, self.now, each.attempt, one.call.size))
                if each in each.node.waiting:
                    each.node.waiting.remove(each)

    def _count(self, node: SimNode) -> list[int]:
        return self._counts.setdefault(node.name, [0, 0])

    # -------------------------------------------------------------------------------------------------------- feedback

    def _look(self) -> None:
        self._after(0.5, self._look)
        self.learner.tries(self._seen)
        self._seen = []
        self.learner.counts(
            Counts("envoy", MODEL, node.address, issued, answered, 0, node.held, 0.5, self.now)
            for node in self.nodes
            for issued, answered in [self._counts.pop(node.name, [0, 0])]
        )
        advice = self.learner.advise(self._view(), self.now, self._loads())
        self.acts += [(self.now, act) for act in self.learner.take_acts()]
        if advice != self.advice and self.now - self._published >= 1.0:
            self.advice, self._published = advice, self.now

    def _loads(self) -> dict[str, Load]:
        loads = {}
        for node in self.nodes:
            if node.says is None:
                continue
            mean = int(1e6 * node.spent / node.ended) if node.ended else 0
            true = ModelLoad(MODEL, len(node.waiting), node.completed, 0, mean)
            node.spent, node.ended = 0.0, 0
            loads[node.name] = Load((node.says(true),), self.now)
        return loads

    def leave(self, name: str) -> None:
        """Take a node out of the fleet."""
        self.nodes = [node for node in self.nodes if node.name != name]
        self._serial += 1

    def _view(self) -> FleetView:
        return FleetView(self._serial, {node.name: member(node.name, node.address) for node in self.nodes})


def member(name: str, address: Address, incarnation: int = 1, revision: int = 1) -> Member:
    """A node of the fleet that serves the model."""
    model = Model(MODEL, (ModelVersion("1", ModelState.READY),))
    node = Node(name, incarnation, address, revision=revision, models=(model,))
    return Member(node, Phase.SERVING, Source.AGENT, 0.0)


FAST, SLOW = takes(0.005), takes(0.050)


def three(**more: object) -> list[SimNode]:
    return [SimNode(name, FAST, **more) for name in ("a", "b", "c")]  # type: ignore[arg-type]


def address(node: str) -> Address:
    return Address(f"10.0.0.{ord(node)}", 8001)


def seen_by(nodes: list[str]) -> tuple[Learner, FleetView]:
    learner = Learner(lambda _: 0.02)
    view = FleetView(1, {name: member(name, address(name)) for name in nodes})
    assert learner.advise(view, 999.0) == Advice()
    return learner, view


def answered(
    node: str,
    seconds: float,
    at: float,
    *,
    size: int = 100,
    outcome: Outcome = Outcome.ANSWERED,
    model: str = MODEL,
) -> Try:
    return Try(model, address(node), outcome, seconds, at, request_bytes=size)
