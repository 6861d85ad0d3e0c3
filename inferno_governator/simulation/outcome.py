"""What a hypothetical deployment would have cost, and what its callers would have seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inferno_governator.simulation.fleet import Fleet
from inferno_governator.simulation.load import Served, Window
from inferno_governator.simulation.trace import Floats, Truths


@dataclass(frozen=True, slots=True)
class Objective:
    """What callers are promised.

    Attributes:
        latency: Seconds to the last token; 0 promises nothing of it.
        first_token: Seconds to the first token; 0 promises nothing of it.
        share: Share of all requests that must keep both, 0 to 1; what is refused keeps neither.
    """

    latency: float = 0.0
    first_token: float = 0.0
    share: float = 0.99

    def within(self, latency: Floats, first: Floats) -> Truths:
        """Whether each request keeps it; what was not served (not a number) does not."""
        kept = np.isfinite(latency)
        if self.latency:
            kept &= np.nan_to_num(latency, nan=np.inf) <= self.latency
        if self.first_token:
            kept &= np.nan_to_num(first, nan=np.inf) <= self.first_token
        return np.asarray(kept)

    def share_within(self, window: Window) -> float:
        """Share of what ended in a window that keeps it; 1 when nothing ended."""
        total = float(window.weight.sum())
        return float(window.weight[self.within(window.latency, window.first)].sum()) / total if total else 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of the trace, for plots: requests a second, nodes that serve and boot, share within the objective."""

    at: float
    rate: float
    serving: int
    starting: int
    within: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One alternative's answer. Times in seconds, money in micro-dollars, shares from 0 to 1.

    Attributes:
        name: The alternative.
        requests: Requests of the trace.
        served: Those that were answered; ``requests`` less ``refused``.
        refused: Those that no node took, or whose turn came after their patience had ended.
        late: Those that were answered, and not within the objective.
        within: Share of all requests within the objective.
        kept: True when ``within`` is at least what the objective promises.
        retried: Requests that began anew because their node was lost.
        latency: The 50th, 95th and 99th percentile of what was served.
        first_token: As ``latency``, of the time to the first token.
        cost_micros: Bill of all nodes from their start, boot included.
        node_seconds: Time of all nodes that is paid.
        idle: Share of that time which the served requests did not need, at the full batch of their nodes.
        refused_actions: Starts and stops that a pool's bounds or its cloud did not allow.
        exact: Each request was followed; False for the fluid model.
    """

    name: str
    requests: int
    served: int
    refused: int
    late: int
    within: float
    kept: bool
    retried: int
    latency: tuple[float, float, float]
    first_token: tuple[float, float, float]
    cost_micros: int
    node_seconds: int
    idle: float
    starts: int
    stops: int
    losses: int
    refused_actions: int
    most_nodes: int
    seconds: float
    exact: bool
    moments: tuple[Moment, ...] = ()

    @property
    def micros_per_thousand(self) -> int:
        """Micro-dollars for each thousand requests that were served; 0 when none was."""
        return round(self.cost_micros * 1000 / self.served) if self.served else 0


_QUANTILES = (0.5, 0.95, 0.99)


def outcome(
    name: str,
    fleet: Fleet,
    served: Served,
    objective: Objective,
    *,
    most: tuple[float, ...],
    seconds: float,
    exact: bool,
    moments: tuple[Moment, ...],
) -> Outcome:
    """Add up what became of everything; ``most`` is what a node of each pool can do, in requests a second."""
    weight = served.weight
    done = np.isfinite(served.latency)
    answered = round(float(weight[done].sum()))
    within = float(weight[objective.within(served.latency, served.first)].sum())
    total = round(served.requests)
    members = list(fleet.members())
    paid = [_paid_seconds(each.asked_at, each.ended_at, seconds) for each in members]
    needed = sum(count / rate for count, rate in zip(served.by_kind, most, strict=True) if rate)
    share = within / served.requests if served.requests else 1.0
    return Outcome(
        name=name,
        requests=total,
        served=answered,
        refused=max(0, total - answered),
        late=max(0, answered - round(within)),
        within=share,
        kept=share >= objective.share,
        retried=round(served.retried),
        latency=_quantiles(served.latency[done], weight[done]),
        first_token=_quantiles(served.first[done], weight[done]),
        cost_micros=sum(fleet.cost_micros(each, seconds) for each in members),
        node_seconds=sum(paid),
        idle=max(0.0, 1 - needed / sum(paid)) if sum(paid) else 0.0,
        starts=fleet.counted["starts"],
        stops=fleet.counted["stops"],
        losses=fleet.counted["losses"],
        refused_actions=fleet.counted["refused_actions"],
        most_nodes=max((moment.serving + moment.starting for moment in moments), default=len(fleet.present)),
        seconds=seconds,
        exact=exact,
        moments=moments,
    )


def _paid_seconds(begin: float, end: float | None, until: float) -> int:
    return max(0, -int(-((end if end is not None else until) - begin) // 1))


def _quantiles(values: Floats, weight: Floats) -> tuple[float, float, float]:
    """The smallest values that so much of the weight does not pass; zeros where there is none."""
    if not len(values):
        return (0.0, 0.0, 0.0)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    places = np.searchsorted(reached, np.array(_QUANTILES) * reached[-1])
    low, middle, high = values[order][np.minimum(places, len(values) - 1)].tolist()
    return (low, middle, high)
