"""What is asked of a simulation, as plain values: alternatives with policies by name, made into deployments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pydantic

from inferno_governator.policies.baselines.hpa import HorizontalAutoscaler
from inferno_governator.policies.baselines.karpenter import ConsolidationScore
from inferno_governator.policies.baselines.skyserve import RequestRateAutoscaler
from inferno_governator.policies.deciding import DecidingSettings
from inferno_governator.policies.settings import FillSettings, PolicySettings
from inferno_governator.simulation.deciding import Deciding
from inferno_governator.simulation.fleet import Pool
from inferno_governator.simulation.outages import Outage, Weather, outages
from inferno_governator.simulation.outcome import Objective, Outcome
from inferno_governator.simulation.replay import Deployment, Policy, replay
from inferno_governator.simulation.trace import Trace
from inferno_runtime.errors import InvalidInput

FIXED = "fixed"
_HPA_TARGET = 0.7


def _inferno(target: float) -> Policy:
    """Our own policies; the target is how full nodes are planned, as ``governator.policies`` says it."""
    try:
        fill = FillSettings(target=target) if target else FillSettings()
    except pydantic.ValidationError as error:
        raise InvalidInput(
            f"The policy 'inferno' cannot plan nodes as full as {target:g}: {error.errors()[0]['msg']}.",
            reason="BAD_POLICY",
            fix="Give a target above 0 and at most 0.9, or none.",
        ) from error
    return Deciding(DecidingSettings(policies=PolicySettings(fill=fill)))


# By name: what makes the policy from its target, and whether it needs to be told one.
POLICIES: Mapping[str, tuple[Callable[[float], Policy], bool]] = MappingProxyType(
    {
        "hpa": (lambda target: HorizontalAutoscaler(target or _HPA_TARGET), False),
        "request-rate": (RequestRateAutoscaler, True),
        "consolidation": (lambda target: ConsolidationScore(target or 1.0), False),
        "inferno": (_inferno, False),
    }
)


@dataclass(frozen=True, slots=True)
class Alternative:
    """One fleet under one policy.

    Attributes:
        policy: ``fixed``, or a name in ``POLICIES``.
        target: What the policy steers by: utilisation (``hpa``), requests a second a node (``request-rate``), share of
            a node's capacity (``consolidation``). 0 is its default.
        weather: How zones lose spot machines; None where none is lost.
        patience: Seconds after which a request that still waits is refused.
        decide_seconds: Seconds between two decisions.
    """

    name: str
    pools: tuple[Pool, ...]
    policy: str = FIXED
    target: float = 0.0
    weather: Weather | None = None
    objective: Objective = field(default_factory=Objective)
    patience: float = 60.0
    decide_seconds: float = 60.0


def deployment(alternative: Alternative, seconds: float, seed: int) -> Deployment:
    """The deployment of an alternative for a trace of so many seconds.

    Raises:
        InvalidInput: Its policy is none, or lacks its target.
    """
    lost: tuple[Outage, ...] = ()
    if alternative.weather:
        zones = sorted({pool.zone for pool in alternative.pools if pool.spot})
        lost = outages(alternative.weather, zones, seconds, seed)
    return Deployment(
        alternative.name,
        alternative.pools,
        alternative.objective,
        _policy(alternative),
        alternative.patience,
        alternative.decide_seconds,
        outages=lost,
    )


def _policy(alternative: Alternative) -> Callable[[], Policy] | None:
    if alternative.policy == FIXED:
        return None
    if alternative.policy not in POLICIES:
        raise InvalidInput(
            f"{alternative.name!r} has the policy {alternative.policy!r}, which is none.",
            reason="BAD_POLICY",
            fix=f"Choose one of: {', '.join([FIXED, *POLICIES])}.",
        )
    make, needs = POLICIES[alternative.policy]
    if needs and not alternative.target:
        raise InvalidInput(
            f"The policy {alternative.policy!r} of {alternative.name!r} needs a target.",
            reason="BAD_POLICY",
            fix="Give target: requests a second for each node.",
        )
    # One that cannot be made is refused before anything is replayed.
    make(alternative.target)
    return lambda: make(alternative.target)


def compare(trace: Trace, alternatives: Iterable[Alternative], seed: int) -> list[Outcome]:
    """Every alternative on the same trace and, where zones fail, under the same losses; in the order given.

    Raises:
        InvalidInput: Something of an alternative cannot be; it is named.
    """
    chosen = [deployment(each, trace.seconds, seed) for each in alternatives]
    if not chosen:
        raise InvalidInput("There is no alternative.", reason="NO_ALTERNATIVE", fix="Give at least one.")
    if len({each.name for each in chosen}) < len(chosen):
        raise InvalidInput("Two alternatives have one name.", reason="BAD_ALTERNATIVE", fix="Name them apart.")
    return [replay(trace, each) for each in chosen]
