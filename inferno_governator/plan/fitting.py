"""What each machine can serve of each stream of requests, and why not. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from inferno_governator.plan import distance
from inferno_governator.plan.curves import Curve, Unfit
from inferno_governator.plan.question import Bucket, Demand, Machine, Question


class Flow(NamedTuple):
    """Requests that are planned for as one: a model's, of one size (or of all, where nothing tells them apart), from
    one region (empty: from anywhere). ``rate`` in requests a second."""

    model: str
    rate: float
    buckets: tuple[Bucket, ...]
    caller: str

    def __str__(self) -> str:
        size = f", {self.buckets[0].size.input:g} in and {self.buckets[0].size.output:g} out" if self.sized else ""
        return f"{self.model}{size}{f', from {self.caller}' if self.caller else ''}"

    @property
    def sized(self) -> bool:
        """It is of one size, which is known."""
        return len(self.buckets) == 1 and self.buckets[0].size.input > 0


class Kind(NamedTuple):
    """A kind of replica: the models that it holds, and its GPUs."""

    group: str
    gpus: int


# Requests a second of one replica of a kind that serves one flow alone, by kind and the flow's number.
Rates = Mapping[tuple[Kind, int], float]


@dataclass(frozen=True, slots=True)
class Fit:
    """What machines can do: ``rates`` by machine, in the question's order; ``unfit`` says for each flow how many
    machines cannot serve it, by the reason."""

    flows: tuple[Flow, ...]
    rates: tuple[Rates, ...]
    unfit: tuple[Mapping[Unfit, int], ...]


def flows(demands: Sequence[Demand]) -> tuple[Flow, ...]:
    """The demand cut into what may be served apart."""
    found = []
    for demand in demands:
        parts = [(each,) for each in demand.buckets if each.share > 0] if demand.by_size else [demand.buckets]
        for caller, part in demand.callers or (("", 1.0),):
            for buckets in parts:
                rate = demand.rate * part * sum(bucket.share for bucket in buckets)
                if rate > 0:
                    found.append(Flow(demand.model, rate, buckets, caller))
    return tuple(found)


def fit(question: Question) -> Fit:
    """What every machine can serve."""
    cut = flows(question.demands)
    demands = {demand.model: demand for demand in question.demands}
    memory: dict[str, float] = defaultdict(float)
    for demand in question.demands:
        memory[demand.together] += demand.memory_gb
    curves: dict[tuple[str, str], list[Curve]] = defaultdict(list)
    for curve in question.curves:
        curves[curve.model, curve.gpu.lower()].append(curve)

    @cache
    def one(flow: Flow, gpu: str, gpu_memory: int, region: str) -> tuple[tuple[tuple[Kind, float], ...], Unfit]:
        demand = demands[flow.model]
        network = distance.seconds(flow.caller, region) if flow.caller and demand.objective.first else 0.0
        if network is None:
            return (), Unfit.PLACE
        known = curves.get((flow.model, gpu)) or curves.get(("", gpu)) or []
        found: list[tuple[Kind, float]] = []
        why = Unfit.CURVE
        for curve in known:
            need = memory[demand.together] / curve.gpus
            if gpu_memory and gpu_memory < max(need, curve.memory_gb):
                why = Unfit.MEMORY
                continue
            rate = _mixed(flow, curve, demand, network)
            if isinstance(rate, Unfit):
                why = rate
            else:
                found.append((Kind(demand.together, curve.gpus), rate))
        return tuple(found), why

    rates: list[Rates] = []
    unfit: list[dict[Unfit, int]] = [defaultdict(int) for _ in cut]
    for machine in question.machines:
        can: dict[tuple[Kind, int], float] = {}
        for number, flow in enumerate(cut):
            region = machine.zone if flow.caller else ""
            able, why = one(flow, machine.gpu.lower(), machine.gpu_memory_gb, region)
            here = {(kind, number): rate for kind, rate in able if holds(machine, kind.gpus)}
            if not here:
                unfit[number][Unfit.GPUS if able else why] += 1
            # What the number of its GPUs forbids stays in: machines that differ in nothing else are then of one kind.
            can |= {(kind, number): rate for kind, rate in able}
        rates.append(can)
    return Fit(cut, tuple(rates), tuple(unfit))


def holds(machine: Machine, gpus: int) -> bool:
    """A machine can be cut into replicas of so many GPUs without a rest."""
    return machine.gpu_count % gpus == 0


def _mixed(flow: Flow, curve: Curve, demand: Demand, network: float) -> float | Unfit:
    """The rate at which one replica serves a flow's mix of sizes: the time of a request is the mean of the sizes'."""
    whole = sum(bucket.share for bucket in flow.buckets)
    time = 0.0
    for bucket in flow.buckets:
        if not bucket.share:
            continue
        rate = curve.shape.rate(bucket.size, demand.objective, network)
        if isinstance(rate, Unfit):
            return rate
        time += bucket.share / whole / rate
    return 1 / time
