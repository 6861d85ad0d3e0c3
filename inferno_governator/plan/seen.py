"""What the mesh itself shows: the demand it has seen, what its nodes can do, and what they cost. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from inferno_governator.analysis.items import Item
from inferno_governator.capacity import Capacity
from inferno_governator.plan.curves import Curve, Objective, measured
from inferno_governator.plan.question import Demand, Machine
from inferno_governator.prices import gpus
from inferno_governator.prices.keeper import NodePrice
from inferno_governator.prices.offers import cloud_of
from inferno_governator.usage import Facts
from inferno_governator.watch.objective import Objective as Promise

# Minutes of which the busiest stretch counts: shorter ones are noise, longer ones hide what the fleet must carry.
STRETCH = 10
_MICROS = 1e6


def demands(items: Iterable[Item], promises: Mapping[str, Promise]) -> tuple[Demand, ...]:
    """The demand for each model in its busiest ten minutes; ``items`` are of minutes."""
    asked: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for item in items:
        if item.model:
            asked[item.model][item.start_minute // STRETCH] += item.requests + item.errors
    return tuple(
        Demand(model, max(counts.values()) / (STRETCH * 60), objective=_objective(promises.get(model)))
        for model, counts in sorted(asked.items())
        if max(counts.values())
    )


def busiest_hours(items: Iterable[Item]) -> tuple[float, ...]:
    """Requests a second of all models in the busiest hour of each day, oldest first, from the first day on which there
    were any; ``items`` are of hours or shorter."""
    hours: dict[int, int] = defaultdict(int)
    for item in items:
        hours[item.start_minute // 60] += item.requests + item.errors
    days: dict[int, int] = defaultdict(int)
    for hour, requests in hours.items():
        days[hour // 24] = max(days[hour // 24], requests)
    busy = [day for day, requests in days.items() if requests]
    return tuple(days[day] / 3600 for day in range(min(busy), max(busy) + 1)) if busy else ()


def curves(capacities: Sequence[Capacity], nodes: Sequence[NodePrice]) -> tuple[Curve, ...]:
    """What nodes have measured, as curves of their kind of machine; of several the newest."""
    facts = {each.node: each.facts for each in nodes}
    found: dict[tuple[str, str, int], Curve] = {}
    for capacity in sorted(capacities, key=lambda each: each.measured_micros):
        subject = capacity.subject
        if subject.node in facts:
            gpu, count = _hardware(facts[subject.node])
            shape = measured(capacity)
            if shape.steps and count & (count - 1) == 0:
                found[subject.model, gpu, count] = Curve(subject.model, gpu, shape, count)
    return tuple(found.values())


def machines(nodes: Sequence[NodePrice]) -> tuple[Machine, ...]:
    """Machines like those that run now, at the price that they cost; those that nobody has a price of are left out."""
    found: dict[tuple[str, str, str, bool], Machine] = {}
    for each in nodes:
        facts = each.facts
        if each.running and each.priced.micros > 0:
            gpu, count = _hardware(facts)
            name = facts.instance_type or gpu
            machine = Machine(
                name,
                cloud_of(facts.provider) or "own",
                facts.region.lower() or "here",
                each.priced.micros,
                gpu,
                count,
                spot=facts.spot,
            )
            kept = found.setdefault((machine.cloud, machine.region, machine.name, machine.spot), machine)
            if machine.micros > kept.micros:
                found[machine.cloud, machine.region, machine.name, machine.spot] = machine
    return tuple(found.values())


def _hardware(facts: Facts) -> tuple[str, int]:
    """GPU and how many, or the type of a machine without any."""
    gpu = gpus.of_device(facts.device)
    if gpu is not None and facts.gpu_count:
        return gpu.name, facts.gpu_count
    return facts.instance_type or facts.device or "cpu", 1


def _objective(promise: Promise | None) -> Objective:
    return Objective(promise.latency_micros / _MICROS) if promise else Objective()
