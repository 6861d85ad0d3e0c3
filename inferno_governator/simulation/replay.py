"""A trace through a hypothetical fleet under a policy: the one loop around fleet, load and policy.

Time goes from event to event. At every ``decide_seconds`` the policy sees the same values that a live governator sees
(``decisions.FleetFacts``), and what it proposes is done at once, without guards: a policy's own restraint is what is
compared. The bill of every node begins at the call that starts it, boot included, and ends when it has drained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from inferno_governator.decisions.fleet import FleetFacts, ModelFacts, NodeFacts, NodeState, PoolFacts
from inferno_governator.decisions.proposal import Proposal
from inferno_governator.simulation.curves import Station
from inferno_governator.simulation.fleet import Fleet, Happenings, Pool
from inferno_governator.simulation.fluid import FluidLoads
from inferno_governator.simulation.load import Loads, Window
from inferno_governator.simulation.outages import Outage
from inferno_governator.simulation.outcome import Moment, Objective, Outcome, outcome
from inferno_governator.simulation.queueing import RequestLoads
from inferno_governator.simulation.trace import Floats, RateTrace, RequestTrace, Trace
from inferno_runtime.errors import InvalidInput

# What decides: facts in, proposals out. One that remembers is an object with a call; each replay needs a fresh one.
Policy: TypeAlias = Callable[[FleetFacts], Sequence[Proposal]]
# The highest rate expected within so many seconds, from ``(seconds, rate)`` of the windows so far, the newest last.
Forecast: TypeAlias = Callable[[Sequence[tuple[float, float]], float], float]
# Moments in an outcome: more tell a plot nothing.
_MOMENTS = 400
_MODEL = "model"
# Policies that look back further than a boot look back for as long.
_LEAST_RECENT = 600.0
# What a replay knows is never old.
_FRESH = MappingProxyType({"telemetry": 0.0, "prices": 0.0, "providers": 0.0})


def last_value(history: Sequence[tuple[float, float]], _: float) -> float:
    """The rate of the last window: hard to beat ten minutes ahead."""
    return history[-1][1]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One alternative.

    Attributes:
        policy: Makes the policy; None leaves the fleet as it begins.
        patience: Seconds after which a caller has gone whose request still waits.
        decide_seconds: Seconds between two decisions.
        forecast: What ``ModelFacts.forecast`` says.
        outages: When zones have no spot machines.
        notice_seconds: How long before its end a spot node is told of it.
        minimum: Nodes that must serve the model, as ``ModelFacts.minimum`` says it.
    """

    name: str
    pools: tuple[Pool, ...]
    objective: Objective = field(default_factory=Objective)
    policy: Callable[[], Policy] | None = None
    patience: float = 60.0
    decide_seconds: float = 60.0
    forecast: Forecast = last_value
    outages: tuple[Outage, ...] = ()
    notice_seconds: float = 120.0
    minimum: int = 1


def replay(trace: Trace, deployment: Deployment) -> Outcome:
    """What the trace would have cost and shown. Requests are followed one by one, rates as a fluid.

    Raises:
        InvalidInput: The fleet has no pool, two of one name, or cannot serve a request of this trace at all.
    """
    return _Replay(trace, deployment).run()


class _Replay:
    def __init__(self, trace: Trace, deployment: Deployment) -> None:
        self._trace, self._deployment = trace, deployment
        pools = deployment.pools
        _check(deployment)
        inputs, outputs = _sizes(trace)
        self._stations = [Station.of(pool.curve, pool.curve.demand(inputs, outputs)) for pool in pools]
        objective = deployment.objective
        self._capacity = [
            _within(station, pool, objective) for station, pool in zip(self._stations, pools, strict=True)
        ]
        self._most = [each.most for each in self._stations]
        self._fleet = Fleet(pools, deployment.outages, deployment.notice_seconds)
        network = [pool.network_seconds for pool in pools]
        self._loads: Loads = (
            FluidLoads(trace, self._stations, deployment.patience, network)
            if isinstance(trace, RateTrace)
            else RequestLoads(trace, [pool.curve for pool in pools], deployment.patience, network)
        )
        for member in self._fleet.present.values():
            self._loads.add(member.name, member.pool, self._most[member.pool], 0.0)
        self._policy = deployment.policy() if deployment.policy else None
        self._history: list[tuple[float, float]] = []
        self._idle: dict[str, float] = {}
        self._moments: list[Moment] = []

    def run(self) -> Outcome:
        """Play the whole trace. What is under way at its end is let finish; bills end with the trace."""
        seconds, every = self._trace.seconds, self._deployment.decide_seconds
        keep = max(1, round(seconds / every / _MOMENTS))
        ticks = 0
        while (tick := (ticks + 1) * every) <= seconds:
            self._advance(tick)
            ticks += 1
            self._decide(tick, plot=ticks % keep == 0)
        self._advance(seconds)
        for name, at in self._loads.advance(float("inf")):
            self._fleet.end(self._fleet.present[name], min(at, seconds))
        return outcome(
            self._deployment.name,
            self._fleet,
            self._loads.served(),
            self._deployment.objective,
            most=tuple(self._most),
            seconds=seconds,
            exact=isinstance(self._trace, RequestTrace),
            moments=tuple(self._moments),
        )

    def _advance(self, until: float) -> None:
        while True:
            at = min(until, self._fleet.next_event())
            self._empty(self._loads.advance(at))
            self._happen(self._fleet.advance(at), at)
            if at >= until:
                return

    def _empty(self, emptied: Sequence[tuple[str, float]]) -> None:
        for name, at in emptied:
            self._fleet.end(self._fleet.present[name], at)

    def _happen(self, came: Happenings, at: float) -> None:
        for member in came.serving:
            self._loads.add(member.name, member.pool, self._most[member.pool], at)
        for member in came.lost:
            self._loads.lose(member.name, at)
        for member in came.draining:
            self._loads.drain(member.name, at)

    def _decide(self, at: float, *, plot: bool) -> None:
        window = self._loads.window(at)
        self._history.append((at, window.rate))
        within = self._deployment.objective.share_within(window)
        if self._policy:
            facts = self._facts(window, within, at)
            self._happen(self._fleet.act(self._policy(facts), at), at)
        if plot:
            states = [member.state for member in self._fleet.present.values()]
            serving, starting = states.count(NodeState.SERVING), states.count(NodeState.STARTING)
            self._moments.append(Moment(at, window.rate, serving, starting, within))
        self._loads.begin_window()

    def _facts(self, window: Window, within: float, at: float) -> FleetFacts:
        begin, deployment, fleet = self._trace.begin, self._deployment, self._fleet
        nodes = []
        for member in fleet.present.values():
            pool, name = fleet.pools[member.pool], member.name
            running = self._loads.running(name)
            if running >= 0.5 or self._loads.given(name):
                self._idle.pop(name, None)
            else:
                self._idle.setdefault(name, at)
            capacity = self._most[member.pool] * deployment.decide_seconds
            nodes.append(
                NodeFacts(
                    node=name,
                    pool=pool.name,
                    state=member.state,
                    models=(_MODEL,),
                    since=begin + member.since,
                    micros_per_hour=pool.micros_per_hour,
                    ours=True,
                    running=round(running),
                    busy=min(1.0, self._loads.given(name) / capacity) if capacity else 0.0,
                    idle_since=begin + self._idle[name] if name in self._idle else None,
                    notice_at=begin + member.notice_at if member.notice_at is not None else None,
                    spot=pool.spot,
                    zone=pool.zone,
                )
            )
        return FleetFacts(
            at=begin + at,
            nodes=tuple(nodes),
            models=(self._model(window, within),),
            pools=self._pools(at),
            ages=_FRESH,
        )

    def _model(self, window: Window, within: float) -> ModelFacts:
        objective, deployment = self._deployment.objective, self._deployment
        known = window.latency[np.isfinite(window.latency)]
        boot = max(pool.boot_seconds for pool in deployment.pools)
        missed = within < objective.share
        begin, windows = self._trace.begin, int(max(boot, _LEAST_RECENT) // deployment.decide_seconds) + 2
        return ModelFacts(
            model=_MODEL,
            rate=window.rate,
            forecast=deployment.forecast(self._history, boot),
            queued=window.queued,
            latency=float(np.quantile(known, objective.share)) if len(known) else 0.0,
            objective=objective.latency or objective.first_token,
            burning=f"{1 - within:.1%} of the last minutes' requests missed the objective." if missed else "",
            minimum=deployment.minimum,
            recent=tuple((begin + at, rate) for at, rate in self._history[-windows:]),
        )

    def _pools(self, at: float) -> tuple[PoolFacts, ...]:
        return tuple(
            PoolFacts(
                pool=pool.name,
                provider="simulated",
                models=(_MODEL,),
                micros_per_hour=pool.micros_per_hour,
                boot_seconds=pool.boot_seconds,
                minimum=pool.minimum,
                maximum=self._fleet.most(place, at),
                spot=pool.spot,
                zone=pool.zone,
                capacity={_MODEL: self._capacity[place]},
            )
            for place, pool in enumerate(self._fleet.pools)
        )


def _within(station: Station, pool: Pool, objective: Objective) -> float:
    """Requests a second that a node serves within the objective, behind the way to it; 0 where the way is too long."""
    promised = [each for each in (objective.latency, objective.first_token) if each]
    if promised and min(promised) <= pool.network_seconds:
        return 0.0
    way = pool.network_seconds
    return station.capacity(
        objective.latency - way if objective.latency else 0.0,
        objective.first_token - way if objective.first_token else 0.0,
    )


def _sizes(trace: Trace) -> tuple[Floats, Floats]:
    if isinstance(trace, RequestTrace) and len(trace.at):
        return trace.inputs, trace.outputs
    return np.array([trace.mean_input]), np.array([trace.mean_output])


def _check(deployment: Deployment) -> None:
    names = [pool.name for pool in deployment.pools]
    if not names or len(set(names)) < len(names):
        raise InvalidInput(
            f"{deployment.name!r} has no pool of nodes, or two of one name.",
            reason="BAD_FLEET",
            fix="Give at least one pool, and each a name of its own.",
        )
    for pool in deployment.pools:
        if not pool.minimum <= pool.begin <= pool.maximum:
            raise InvalidInput(
                f"The pool {pool.name!r} of {deployment.name!r} begins with {pool.begin} nodes, which is not between "
                f"its minimum of {pool.minimum} and its maximum of {pool.maximum}.",
                reason="BAD_FLEET",
                fix="Give nodes between the two.",
            )
