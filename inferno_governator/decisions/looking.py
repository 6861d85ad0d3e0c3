"""From what was heard, listed and written to the facts that decisions are made from. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inferno_governator.capacity import Capacity
from inferno_governator.decisions.fleet import FleetFacts, ModelFacts, NodeFacts, NodeState, PoolFacts
from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.proposal import Verb
from inferno_governator.decisions.sights import RATE_MICROS, NodeSight
from inferno_governator.notices import Kind, StoredNotice
from inferno_governator.pools.pool import Pool
from inferno_governator.providers.provider import Machine, MachineState
from inferno_governator.watch.node_findings import SickDevice

_MICROS = 1_000_000
# Seconds after which a node that says nothing is lost: telemetry comes every few seconds.
LOST = 60.0
# Of a notice that does not say when: clouds give 30 s to two minutes.
_NOTICE = 120.0
# Boots of a pool that its time is the median of.
_BOOTS = 10
_ENDED = frozenset({MachineState.STOPPING, MachineState.STOPPED})


@dataclass(frozen=True, slots=True)
class PoolPrice:
    """What one node of a pool costs, and why that may not be acted on; empty when it may."""

    micros_per_hour: int
    unpriced: str = ""


@dataclass(frozen=True, slots=True)
class Objective:
    """What is promised of a model and what came of it: seconds, and why it burns; empty while it does not."""

    seconds: float = 0.0
    latency: float = 0.0
    burning: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """All that facts are made of."""

    now: float
    nodes: Mapping[str, NodeSight]
    machines: Mapping[str, Machine]
    listed: frozenset[str]
    pools: Mapping[str, Pool]
    prices: Mapping[str, PoolPrice]
    intents: Sequence[Intent] = ()
    notices: Sequence[StoredNotice] = ()
    sick: Sequence[SickDevice] = ()
    objectives: Mapping[str, Objective] = field(default_factory=dict)
    capacities: Sequence[Capacity] = ()
    ages: Mapping[str, float] = field(default_factory=dict)
    over_budget: str = ""
    # Nodes that must serve a model, where that is not 1.
    minimums: Mapping[str, int] = field(default_factory=dict)


def fleet_facts(heard: Heard) -> FleetFacts:
    """The fleet as it is known."""
    nodes = tuple(_node(name, heard) for name in sorted(_present(heard)))
    models = tuple(_model(name, heard) for name in sorted(_models(heard)))
    pools = tuple(_pool(each, heard) for _, each in sorted(heard.pools.items()))
    return FleetFacts(heard.now, nodes, models, pools, heard.ages, heard.over_budget)


def _present(heard: Heard) -> set[str]:
    """Nodes that are there, or should be: heard of lately, listed by a provider, or asked for. Of a node that its
    provider lists no more, old news is none."""
    starting = {each.node for each in heard.intents if _under_way(each, Verb.START)}
    gone = {each.node for each in heard.intents if each.verb is Verb.STOP and each.outcome is Outcome.DONE}
    # What a provider keeps of a machine that was stopped, such as its disk, is no node.
    kept = {name for name in gone if name in heard.machines and heard.machines[name].state is MachineState.STOPPED}
    there = set(heard.machines) - kept
    started = {each.node: each.pool for each in heard.intents if each.verb is Verb.START}
    silent = {
        name
        for name, each in heard.nodes.items()
        if _silence(each, heard) > LOST and (name in gone or started.get(name, "") in heard.listed)
    }
    return {*heard.nodes, *starting, *there} - (silent - there) - (gone - there)


def _node(name: str, heard: Heard) -> NodeFacts:
    sight, machine = heard.nodes.get(name), heard.machines.get(name)
    pool = heard.pools.get(machine.pool if machine else _pool_asked(name, heard))
    state, since, why = _state(name, pool, heard)
    seen = sight.models if sight else {}
    pending = sum(each.pending for each in seen.values())
    price = sight.facts.price if sight and sight.facts.price else 0
    if not price and pool:
        price = heard.prices[pool.name].micros_per_hour
    idle = pending == 0 and not any(each.requests for each in seen.values())
    last = max((each.last_minute for each in seen.values()), default=0)
    return NodeFacts(
        node=name,
        pool=pool.name if pool else "",
        state=state,
        models=tuple(sorted(seen)) or (pool.models if pool else ()),
        since=since,
        micros_per_hour=price,
        ours=machine is not None,
        running=pending,
        busy=_busy(sight) if sight else 0.0,
        idle_since=max((last + 1) * 60.0, since) if idle else None,
        notice_at=_notice(name, since, heard),
        spot=sight.facts.spot if sight else bool(pool and pool.spot),
        zone=(machine.zone if machine else "")
        or (sight.facts.region if sight else "")
        or (pool.region if pool else ""),
        why=why,
    )


def _state(name: str, pool: Pool | None, heard: Heard) -> tuple[NodeState, float, str]:
    sight, machine = heard.nodes.get(name), heard.machines.get(name)
    for each in heard.intents:
        if each.node == name and _under_way(each, Verb.STOP) and each.outcome is not Outcome.INTENDED:
            return NodeState.DRAINING, each.begun_micros / _MICROS, ""
    asked = next((each for each in heard.intents if each.node == name and each.verb is Verb.START), None)
    born = (
        (asked.begun_micros / _MICROS if asked else 0.0)
        or (machine.born_at if machine else 0.0)
        or (sight.born_micros / _MICROS if sight else 0.0)
    )
    if machine is not None and machine.state in _ENDED:
        last = sight.heard_micros / _MICROS if sight is not None else born
        return NodeState.LOST, max(born, last), machine.why or f"Its machine is {machine.state.value}."
    if sight is not None and _silence(sight, heard) <= LOST:
        sick = [each for each in heard.sick if each.node == name]
        if sick:
            return NodeState.SICK, born, f"{sick[0].device}: {sick[0].fault}"
        if not sight.models and asked is not None and not asked.ended_micros:
            return NodeState.STARTING, born, ""
        return NodeState.SERVING, (asked.ended_micros / _MICROS if asked else 0.0) or born, ""
    if sight is not None:
        at = sight.heard_micros / _MICROS
        return NodeState.LOST, at, f"Nothing was heard of it for {_silence(sight, heard):.0f} s."
    boot = _boot(pool, heard) if pool else 0.0
    if heard.now - born > 3 * boot + LOST and (asked is None or asked.ended_micros):
        return NodeState.LOST, born, machine.why if machine and machine.why else "Nothing was ever heard of it."
    return NodeState.STARTING, born, machine.why if machine else ""


def _busy(sight: NodeSight) -> float:
    """How much of the last minute it worked on requests, and its devices were busy: each alone is too much. Devices may
    be busy for others, and requests that are worked on side by side count each."""
    worked = sum(each.compute_micros for each in sight.models.values()) / RATE_MICROS
    return min(1.0, worked, sight.busy) if sight.busy else min(1.0, worked)


def _model(name: str, heard: Heard) -> ModelFacts:
    sights = [each.models[name] for each in heard.nodes.values() if name in each.models]
    rate = sum(each.requests for each in sights) * _MICROS / RATE_MICROS
    queued = sum(each.queue_micros for each in sights) / RATE_MICROS
    objective = heard.objectives.get(name, Objective())
    done = sum(each.requests for each in sights)
    mean = sum(each.request_micros for each in sights) / done / _MICROS if done else 0.0
    return ModelFacts(
        model=name,
        rate=rate,
        forecast=rate,
        queued=queued,
        latency=objective.latency or mean,
        objective=objective.seconds,
        burning=objective.burning,
        minimum=heard.minimums.get(name, 1),
    )


def _pool(pool: Pool, heard: Heard) -> PoolFacts:
    price = heard.prices[pool.name]
    return PoolFacts(
        pool=pool.name,
        provider=pool.provider,
        models=pool.models,
        micros_per_hour=price.micros_per_hour,
        boot_seconds=_boot(pool, heard),
        minimum=pool.minimum,
        maximum=pool.maximum,
        spot=pool.spot,
        zone=pool.zone or pool.region,
        capacity={**pool.capacity, **_measured(pool, heard)},
        unpriced=price.unpriced,
    )


def _boot(pool: Pool, heard: Heard) -> float:
    """The median of its last boots, from the intent to the first traffic."""
    boots = [
        (each.ended_micros - each.begun_micros) / _MICROS
        for each in heard.intents
        if each.pool == pool.name and each.verb is Verb.START and each.outcome is Outcome.DONE and not each.rehearsed
    ]
    return statistics.median(boots[-_BOOTS:]) if boots else pool.boot_seconds


def _measured(pool: Pool, heard: Heard) -> dict[str, float]:
    """What nodes of a pool have shown within the objective, by model: the least of them."""
    found: dict[str, list[float]] = {}
    for each in heard.capacities:
        machine = heard.machines.get(each.subject.node)
        if machine is None or machine.pool != pool.name or each.subject.model not in pool.models:
            continue
        promised = heard.objectives.get(each.subject.model, Objective()).seconds * _MICROS or each.objective_micros
        within = [
            step.requests_per_second for step in each.steps if not step.failures and promised >= step.p99_micros > 0
        ]
        reached = within if promised else [step.requests_per_second for step in each.steps if not step.failures]
        if reached:
            found.setdefault(each.subject.model, []).append(max(reached))
    return {model: min(each) for model, each in found.items()}


def _models(heard: Heard) -> set[str]:
    served = {model for each in heard.nodes.values() for model in each.models}
    return served | {model for pool in heard.pools.values() for model in pool.models}


def _notice(name: str, since: float, heard: Heard) -> float | None:
    at = [
        (each.notice.reclaim_micros / _MICROS)
        if each.notice.reclaim_micros is not None
        else each.notice.noticed_micros / _MICROS + _NOTICE
        for each in heard.notices
        if each.notice.node_id == name
        and each.notice.kind is Kind.RECLAIM
        and each.notice.noticed_micros / _MICROS >= since
    ]
    return min(at) if at else None


def _pool_asked(name: str, heard: Heard) -> str:
    return next((each.pool for each in heard.intents if each.node == name and each.verb is Verb.START), "")


def _silence(sight: NodeSight, heard: Heard) -> float:
    return heard.now - sight.heard_micros / _MICROS


def _under_way(intent: Intent, verb: Verb) -> bool:
    return intent.verb is verb and not intent.ended_micros and not intent.waits and not intent.rehearsed
