"""Fleets for tests of decisions: one pool of like nodes for one model, and what differs by argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from inferno_governator.decisions.fleet import FleetFacts, ModelFacts, NodeFacts, NodeState, PoolFacts

DOLLAR = 1_000_000
NOW = 1_000_000.0
AGES = {"telemetry": 5.0, "prices": 60.0, "providers": 5.0}
POOL = PoolFacts("gpu", "local", ("m",), DOLLAR, boot_seconds=600.0, maximum=8, capacity={"m": 10.0})


def node(name: str, state: NodeState = NodeState.SERVING, **fields: object) -> NodeFacts:
    """A node of ours, there for a day."""
    made = NodeFacts(name, "gpu", state, ("m",), NOW - 86_400, DOLLAR, ours=True)
    return replace(made, **fields)  # type: ignore[arg-type]


def model(rate: float, *, peak: float | None = None, **fields: object) -> ModelFacts:
    """A model asked at a rate; ``peak`` is the highest of the last two hours, which had the same rate without it."""
    recent = tuple((NOW - 7200 + 60.0 * minute, rate if peak is None else peak) for minute in range(121))
    return replace(ModelFacts("m", rate, rate, recent=recent), **fields)  # type: ignore[arg-type]


def fleet(
    nodes: Iterable[NodeFacts],
    *models: ModelFacts,
    pools: Iterable[PoolFacts] = (POOL,),
    ages: Mapping[str, float] = AGES,
    over_budget: str = "",
) -> FleetFacts:
    """The fleet now."""
    return FleetFacts(NOW, tuple(nodes), models, tuple(pools), ages, over_budget)
