"""The optimiser against every fleet there is, against its relaxation, and against what must hold of any optimum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from inferno_governator.plan.curves import Objective, Size, grid
from inferno_governator.plan.first_try import first_try
from inferno_governator.plan.fitting import Kind, fit
from inferno_governator.plan.mix import Plan, plan
from inferno_governator.plan.question import Bucket, Demand, Limits, Machine, Question
from inferno_governator.plan.reduction import cells
from inferno_governator.prices import offers as priced
from inferno_governator.prices import table
from inferno_runtime.errors import InvalidInput
from tests.unit.inferno_governator.plan.questions import CURVES, flat, machine, questions

# Money of two plans of which each is optimal within the solver's tolerance.
NEAR = 10


def best(question: Question) -> Plan | None:
    """The optimum, or None where there is none."""
    try:
        return plan(question, gap=0.0, seconds=60)
    except InvalidInput as refused:
        if refused.reason != "NO_PLAN":
            raise
        return None


def holdings(machine: Machine, count: int, kinds: list[Kind]) -> Iterator[dict[Kind, int]]:
    """Every way to fill so many machines with replicas, one machine at a time."""
    one = [
        dict(zip(kinds, each, strict=True))
        for each in itertools.product(*(range(machine.gpu_count // kind.gpus + 1) for kind in kinds))
        if sum(number * kind.gpus for number, kind in zip(each, kinds, strict=True)) <= machine.gpu_count
    ]
    for many in itertools.combinations_with_replacement(one, count):
        yield {kind: sum(each[kind] for each in many) for kind in kinds}


def serves(question: Question, replicas: list[dict[Kind, int]]) -> bool:
    """Whether replicas, by machine, keep the demand and what must survive: a linear programme of its own."""
    can = fit(question)
    columns = [
        (number, kind, flow)
        for number, rates in enumerate(can.rates)
        for (kind, flow) in rates
        if replicas[number].get(kind)
    ]
    rows: list[list[float]] = []
    bounds: list[float] = []
    for number, held in enumerate(replicas):
        for kind, count in held.items():
            rows.append(
                [
                    can.flows[flow].rate / can.rates[number][kind, flow] if (at, one) == (number, kind) else 0.0
                    for at, one, flow in columns
                ]
            )
            bounds.append(count)
    share = question.limits.surviving_share
    zones = {each.zone for each in question.machines if each.spot} if share else set()
    for index, _ in enumerate(can.flows):
        rows.append([-1.0 if flow == index else 0.0 for _, _, flow in columns])
        bounds.append(-1.0)
        for zone in zones:
            lost = {n for n, each in enumerate(question.machines) if each.spot and each.zone == zone}
            rows.append([-1.0 if flow == index and at not in lost else 0.0 for at, _, flow in columns])
            bounds.append(-share)
    if not columns:
        return not can.flows
    found = linprog(np.zeros(len(columns)), A_ub=np.array(rows), b_ub=np.array(bounds) + 1e-7, bounds=(0, None))
    return int(found.status) == 0


def cheapest_of_all(question: Question, most: int) -> int | None:
    """The price of the cheapest fleet of at most so many machines of each offer, by trying all of them."""
    can = fit(question)
    kinds = [sorted({kind for kind, _ in rates}) for rates in can.rates]
    counts = sorted(
        itertools.product(
            *(range(min(most, most if each.most is None else each.most) + 1) for each in question.machines)
        ),
        key=lambda each: sum(n * machine.micros for n, machine in zip(each, question.machines, strict=True)),
    )
    for count in counts:
        ways = [
            list(holdings(machine, n, mine)) for machine, n, mine in zip(question.machines, count, kinds, strict=True)
        ]
        if any(serves(question, list(way)) for way in itertools.product(*ways)):
            return sum(n * machine.micros for n, machine in zip(count, question.machines, strict=True))
    return None


SMALL = 2


@given(questions())
@settings(max_examples=25, deadline=None)
def test_no_fleet_is_cheaper_than_the_plan(question: Question) -> None:
    small = replace(
        question,
        demands=tuple(replace(each, rate=each.rate / 4) for each in question.demands),
        machines=tuple(
            replace(each, most=SMALL if each.most is None else min(SMALL, each.most), gpu_count=min(2, each.gpu_count))
            for each in question.machines
        ),
    )
    found = best(small)
    assert (found.micros if found else None) == cheapest_of_all(small, SMALL)


@given(questions(limits=False))
@settings(max_examples=40, deadline=None)
def test_a_plan_costs_no_more_than_the_best_single_type_and_no_less_than_its_bound(question: Question) -> None:
    found = best(question)
    singles = [single for each in question.machines if (single := best(replace(question, machines=(each,))))]
    if found is None:
        assert not singles
        return
    assert found.bound <= found.micros
    assert found.micros - found.bound <= NEAR
    assert all(found.micros <= single.micros + NEAR for single in singles)
    # The relaxation: every request on the machine where it is cheapest, by the fraction.
    can = fit(question)
    fraction = sum(
        min(
            flow.rate / rate * kind.gpus * machine.micros / machine.gpu_count
            for rates, machine in zip(can.rates, question.machines, strict=True)
            for (kind, number), rate in rates.items()
            if number == index and machine.gpu_count % kind.gpus == 0
        )
        for index, flow in enumerate(can.flows)
    )
    assert found.micros >= fraction - NEAR


@given(questions(), st.integers(101, 300))
@settings(max_examples=40, deadline=None)
def test_more_demand_or_higher_prices_never_cost_less(question: Question, percent: int) -> None:
    found = best(question)
    grown = replace(question, demands=tuple(replace(each, rate=each.rate * percent / 100) for each in question.demands))
    dearer = replace(
        question, machines=tuple(replace(each, micros=each.micros * percent // 100) for each in question.machines)
    )
    for other in (best(grown), best(dearer)):
        assert other is None or (found is not None and other.micros >= found.micros - NEAR)


@given(questions(limits=False), st.sampled_from((0.0, 0.5)))
@settings(max_examples=40, deadline=None)
def test_an_offer_that_is_left_out_beforehand_would_not_have_made_the_plan_cheaper(
    question: Question, share: float
) -> None:
    question = replace(question, limits=Limits(surviving_share=share))
    can = fit(question)
    kept = {member for cell in cells(question.machines, can, question.limits) for member in cell.members}
    # A bound that is never reached is enough to keep an offer from being left out.
    whole = replace(question, machines=tuple(replace(each, most=10**6) for each in question.machines))
    all_of_them, some = best(whole), best(replace(question, machines=tuple(question.machines[n] for n in sorted(kept))))
    assert (all_of_them is None) == (some is None)
    if all_of_them and some:
        assert abs(all_of_them.micros - some.micros) <= NEAR


@given(questions(limits=False), st.sampled_from((0.0, 0.5, 1.0)))
@settings(max_examples=40, deadline=None)
def test_what_the_solver_begins_with_is_a_plan(question: Question, share: float) -> None:
    question = replace(question, limits=Limits(surviving_share=share))
    can = fit(question)
    begun = first_try(question.machines, can.flows, cells(question.machines, can, question.limits), share)
    if begun is None:
        return
    bought = tuple(replace(each, most=begun.counts.get(number, 0)) for number, each in enumerate(question.machines))
    found = best(replace(question, machines=bought))
    assert found is not None


def test_a_replica_of_four_gpus_needs_them_in_one_machine() -> None:
    small, large = machine("small", 1.0), machine("large", 9.0, gpu_count=8)
    question = Question(
        (Demand("m", 1.0), Demand("big", 1.0)), (small, large), (flat(1.0, model="m"), flat(1.0, model="big", gpus=4))
    )
    found = plan(question, gap=0.0)
    assert [(each.machine.name, each.count) for each in found.rented] == [("large", 1)]
    assert {each.kind: each.replicas for each in found.rented[0].shares} == {Kind("m", 1): 1, Kind("big", 4): 1}
    assert found.rented[0].serves == pytest.approx({"m": 1.0, "big": 1.0})


def test_models_of_one_group_share_the_time_of_a_gpu_and_others_do_not() -> None:
    apart = (Demand("a", 0.5), Demand("b", 0.5))
    together = tuple(replace(each, group="both", memory_gb=10.0) for each in apart)
    offers = (machine("one", 1.0, gpu_memory_gb=24),)
    assert plan(Question(apart, offers, (flat(1.0),))).nodes == 2
    assert plan(Question(together, offers, (flat(1.0),))).nodes == 1
    too_large = tuple(replace(each, memory_gb=13.0) for each in together)
    with pytest.raises(InvalidInput, match="too little memory"):
        plan(Question(too_large, offers, (flat(1.0),)))


def test_sizes_go_to_the_machines_that_suit_them_only_where_something_sends_them_there() -> None:
    small = grid({"100,10": [10, 1, 10, 1], "1000,10": None})
    large = grid({"100,10": [11, 1, 10, 1], "1000,10": [10, 1, 10, 1]})
    buckets = (Bucket(Size(100, 10), 0.5), Bucket(Size(1000, 10), 0.5))
    curves = (replace(flat(1, "L4"), shape=small), replace(flat(1, "H100"), shape=large))
    offers = (machine("small", 1.0), machine("large", 10.0, "H100"))
    mixed = plan(Question((Demand("m", 20.0, buckets),), offers, curves), gap=0.0)
    sized = plan(Question((Demand("m", 20.0, buckets, by_size=True),), offers, curves), gap=0.0)
    assert {each.machine.name for each in mixed.rented} == {"large"}
    assert {each.machine.name: each.count for each in sized.rented} == {"small": 1, "large": 1}
    assert sum(each.serves["m"] for each in sized.rented) == pytest.approx(1.0)


def test_what_must_survive_the_loss_of_a_region_is_spread_or_kept_on_demand() -> None:
    spots = tuple(machine(f"spot-{region}", 1.0, region=region, spot=True) for region in ("us-east-1", "us-west-2"))
    offers = (*spots, machine("sure", 3.0))
    question = Question((Demand("m", 4.0),), offers, CURVES, Limits(surviving_share=0.5))
    found = plan(question, gap=0.0)
    assert {each.machine.name: each.count for each in found.rented} == {"spot-us-east-1": 1, "spot-us-west-2": 1}
    whole = plan(replace(question, limits=Limits(surviving_share=1.0)), gap=0.0)
    assert {each.machine.name: each.count for each in whole.rented} == {"spot-us-east-1": 2, "spot-us-west-2": 2}
    assert any("loss of the spot machines" in each for each in whole.binding)


def test_a_region_too_far_from_the_callers_is_left_out() -> None:
    near = machine("near", 5.0, region="eu-central-1")
    far = machine("far", 1.0, region="ap-southeast-2")
    demand = Demand("m", 1.0, objective=Objective(first=0.1), callers=(("aws eu-west-1", 1.0),))
    found = plan(Question((demand,), (near, far), CURVES))
    assert [each.machine.name for each in found.rented] == ["near"]
    with pytest.raises(InvalidInput, match="too far from the callers"):
        plan(Question((demand,), (far,), CURVES))
    with pytest.raises(InvalidInput, match="nobody knows where"):
        plan(Question((demand,), (replace(far, region="moon-1"),), CURVES))


@pytest.mark.parametrize(
    ("limits", "most", "said"),
    [
        (Limits(budget=2_500_000), None, r"the budget \(\$2.50 an hour; without it the plan costs \$3.00 an hour\)"),
        (Limits(nodes_by_region=(("aws us-east-1", 1),)), None, "nodes in a region"),
        (Limits(), 2, "number of machines of an offer"),
        (Limits(surviving_share=0.5), None, "share that must survive"),
    ],
)
def test_a_limit_that_makes_a_plan_impossible_is_named(limits: Limits, most: int | None, said: str) -> None:
    offer = machine("one", 1.0, most=most, spot=True)
    with pytest.raises(InvalidInput, match=said) as refused:
        plan(Question((Demand("m", 6.0),), (offer,), CURVES, limits))
    assert refused.value.reason == "NO_PLAN"
    assert "of m cannot be served" in refused.value.message


def test_an_objective_that_no_machine_keeps_is_named_as_the_reason() -> None:
    demand = Demand("m", 1.0, objective=Objective(first=0.001))
    with pytest.raises(InvalidInput, match=r"1 of 1 offers: it takes longer than the objective allows"):
        plan(Question((demand,), (machine("one", 1.0),), CURVES))


def test_a_limit_that_costs_something_is_told_with_what_it_costs() -> None:
    offers = (machine("cheap", 1.0, most=1), machine("dear", 3.0))
    found = plan(Question((Demand("m", 4.0),), offers, CURVES))
    assert found.micros == 4_000_000
    assert found.binding == ("One more cheap in aws us-east-1 than may be had would save about $2.00 an hour.",)


@pytest.mark.parametrize(
    "demand",
    [
        Demand("m", math.nan),
        Demand("m", -1.0),
        Demand("m", 1.0, (Bucket(Size(0, 0), 0.5),)),
        Demand("m", 1.0, callers=(("aws us-east-1", 0.5),)),
    ],
)
def test_a_demand_that_cannot_be_is_refused(demand: Demand) -> None:
    with pytest.raises(InvalidInput):
        plan(Question((demand,), (machine("one", 1.0),), CURVES))


def test_two_hundred_offers_and_twenty_models_are_planned_within_one_per_cent_of_the_bound() -> None:
    """How long it takes is what the benchmark ``mix`` prints."""
    speed = {"L4": 1.0, "A10G": 1.3, "L40S": 3.0, "A100": 6.0, "H100": 12.0, "H200": 16.0}
    quotes = [quote for quote in table.bundled() if quote.offer.gpu in speed][::3][:200]
    offers = tuple(
        Machine(
            *(each.offer.key.instance_type, each.offer.key.cloud, each.offer.key.region, each.micros, each.offer.gpu),
            each.offer.gpu_count,
            each.offer.gpu_memory_gb,
            each.offer.key.kind is priced.Kind.SPOT,
        )
        for each in quotes
    )
    cells_of = {
        gpu: grid(
            {
                f"{a},{b}": [fast * 2e4 / (a + 20 * b), 1, 40 * a / fast / 100, 60 / fast**0.5]
                for a in (128, 1024, 8192)
                for b in (32, 1024)
            }
        )
        for gpu, fast in speed.items()
    }
    curves = tuple(replace(flat(1.0, gpu), shape=shape) for gpu, shape in cells_of.items())
    demands = tuple(
        Demand(
            f"m{number}",
            0.5 * 1.3**number,
            tuple(Bucket(Size(200 + 90 * number * step, 40 * step), 1 / 3) for step in (1, 2, 3)),
            by_size=number % 2 == 0,
        )
        for number in range(20)
    )
    assert len(offers) == 200
    found = plan(Question(demands, offers, curves), seconds=60)
    assert found.optimal
    assert 0 <= found.gap <= 0.01
    assert found.left < found.considered
    for demand in demands:
        assert sum(each.serves.get(demand.model, 0) for each in found.rented) == pytest.approx(1, abs=1e-4)
