"""Questions about fleets from real histograms, curves and prices, and a second way to answer them."""

from __future__ import annotations

import csv
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from inferno_governator.plan.curves import Curve, Objective, Size, grid
from inferno_governator.plan.fitting import fit
from inferno_governator.plan.question import Bucket, Demand, Limits, Machine, Question
from inferno_governator.prices import table
from inferno_governator.prices.offers import Kind

_GPUS = {
    "a100_sxm": "A100",
    "b200_sxm": "B200",
    "h100_sxm": "H100",
    "h200_sxm": "H200",
    "l40s": "L40S",
    "rtx_pro_6000_server": "RTX PRO 6000",
}
# Upper ends of the bins: the sizes that the curves were computed for.
_INPUTS = (128, 512, 1024, 2048, 4096, 8192)
_OUTPUTS = (32, 128, 512, 1024)


def curves(data: Path) -> tuple[Curve, ...]:
    """Llama-3.1-8B on six GPUs, TTFT within 2 s and TPOT within 60 ms."""
    return tuple(
        Curve("", gpu, grid(json.loads((data / "profiles" / f"grid_{name}.json").read_text())))
        for name, gpu in _GPUS.items()
    )


def machines(*, spot: bool = False) -> tuple[Machine, ...]:
    """Every offer of the bundled catalogue with one of these GPUs."""
    return tuple(
        Machine(
            quote.offer.key.instance_type,
            quote.offer.key.cloud,
            quote.offer.key.region,
            quote.micros,
            quote.offer.gpu,
            quote.offer.gpu_count,
            quote.offer.gpu_memory_gb,
            quote.offer.key.kind is Kind.SPOT,
        )
        for quote in table.bundled()
        if quote.offer.gpu in _GPUS.values() and (spot or quote.offer.key.kind is not Kind.SPOT)
    )


def histogram(trace: Path) -> tuple[tuple[Bucket, ...], float]:
    """Sizes of a trace's requests in bins, each at the mean of its requests; and the share of requests that lie beyond
    the curves, which are counted at their edge."""
    bins: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    beyond = count = 0
    with trace.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            asked, given = int(row["ContextTokens"]), int(row["GeneratedTokens"])
            beyond += asked > _INPUTS[-1] or given > _OUTPUTS[-1]
            asked, given = min(asked, _INPUTS[-1]), min(given, _OUTPUTS[-1])
            where = (sum(asked > edge for edge in _INPUTS), sum(given > edge for edge in _OUTPUTS))
            bins[where].append((asked, given))
            count += 1
    buckets = tuple(
        Bucket(
            Size(sum(asked for asked, _ in inside) / len(inside), sum(given for _, given in inside) / len(inside)),
            len(inside) / count,
        )
        for _, inside in sorted(bins.items())
    )
    return buckets, beyond / count


def rounded_up(buckets: Sequence[Bucket]) -> tuple[Bucket, ...]:
    """The same bins, each at its largest size, which was measured: nothing is interpolated."""

    def up(axis: Sequence[int], value: float) -> int:
        return next(edge for edge in axis if value <= edge)

    return tuple(
        Bucket(Size(up(_INPUTS, each.size.input), up(_OUTPUTS, each.size.output)), each.share) for each in buckets
    )


def by_gpu(offers: Sequence[Machine]) -> tuple[Machine, ...]:
    """The same offers by the GPU: an eighth of a node at an eighth of its price, as published comparisons have it."""
    return tuple(
        Machine(each.name, each.cloud, each.region, -(-each.micros // each.gpu_count), each.gpu) for each in offers
    )


def second_opinion(question: Question, gap: float) -> float:
    """Micro-dollars of the optimum by another formulation: no classes, no offer left out, one row for each offer, rates
    instead of shares, no implied rows; solved by SciPy's own build of HiGHS. For replicas of one GPU."""
    can = fit(question)
    serve = [(at, flow, rate) for at, rates in enumerate(can.rates) for (_, flow), rate in rates.items()]
    count, groups = len(question.machines), sorted({kind.group for rates in can.rates for kind, _ in rates})
    group_of = {demand.model: demand.together for demand in question.demands}
    replicas = {(at, name): count + at * len(groups) + n for at in range(count) for n, name in enumerate(groups)}
    first = count + len(replicas)
    rows: list[dict[int, float]] = []
    low: list[float] = []
    for flow, each in enumerate(can.flows):
        rows.append({first + n: 1.0 for n, (_, which, _) in enumerate(serve) if which == flow})
        low.append(each.rate)
    for (at, name), column in replicas.items():
        used = {
            first + n: -1.0 / rate
            for n, (where, flow, rate) in enumerate(serve)
            if where == at and group_of[can.flows[flow].model] == name
        }
        rows.append({column: 1.0, **used})
        low.append(0.0)
    for at, machine in enumerate(question.machines):
        rows.append({at: float(machine.gpu_count), **{replicas[at, name]: -1.0 for name in groups}})
        low.append(0.0)
    matrix = np.zeros((len(rows), first + len(serve)))
    for n, row in enumerate(rows):
        for column, value in row.items():
            matrix[n, column] = value
    cost = np.zeros(matrix.shape[1])
    cost[:count] = [machine.micros / 1e6 for machine in question.machines]
    whole = np.zeros(matrix.shape[1])
    whole[:first] = 1
    found = milp(
        cost,
        constraints=LinearConstraint(matrix, np.array(low), np.inf),
        integrality=whole,
        bounds=Bounds(0, np.inf),
        options={"mip_rel_gap": gap, "time_limit": 60},
    )
    return float(found.fun) * 1e6


def large(data: Path, seed: int, survive: float, *, by_size: bool) -> Question:
    """200 offers of the catalogue and 20 models with six sizes each, drawn by a seed."""
    rng = random.Random(seed)  # noqa: S311 - a draw that can be repeated
    offers = machines(spot=True)
    sizes = [Size(*each) for each in ((256, 64), (512, 128), (1024, 256), (2048, 256), (4096, 300), (800, 800))]

    def demand(number: int) -> Demand:
        weights = [rng.random() ** 2 for _ in sizes]
        buckets = tuple(Bucket(size, each / sum(weights)) for size, each in zip(sizes, weights, strict=True))
        objective = Objective(rng.choice((0.0, 0.5, 1.0, 2.0)), rng.choice((0.0, 0.065, 0.07)))
        rate = rng.choice((0.3, 1.0, 4.0, 16.0, 64.0)) * rng.uniform(0.5, 1.5)
        return Demand(f"model-{number}", rate, buckets, objective, by_size)

    demands = tuple(demand(number) for number in range(20))
    return Question(demands, tuple(rng.sample(offers, 200)), curves(data), Limits(surviving_share=survive))
