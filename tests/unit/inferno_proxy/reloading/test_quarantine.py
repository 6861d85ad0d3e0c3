"""What a plan becomes while models are held back."""

from __future__ import annotations

from dataclasses import replace

from inferno_proxy.fleet import Address
from inferno_proxy.reloading.quarantine import (
    NOBODY,
    Held,
    Quarantine,
    Step,
    contained,
    ended,
    hold,
    suspects,
    treatments,
    without,
)
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutePlan
from inferno_proxy.routing.traffic import Traffic

HERE = (Endpoint(Address("10.0.0.1", 8001)),)
THERE = (Endpoint(Address("10.0.0.2", 8001)),)
OLD = ModelRoute("m", traffic=Traffic(retries=1), repeatable=False)
BAD = ModelRoute("m", traffic=Traffic(retries=9))


def planned(*routes: ModelRoute) -> RoutePlan:
    return RoutePlan({route.name: route for route in routes})


def quarantined(*held: Held) -> Quarantine:
    return {each.refused.name: each for each in held}


def test_a_held_model_is_treated_as_before_at_the_endpoints_of_now() -> None:
    plan = planned(replace(BAD, grpc=THERE, http=HERE), ModelRoute("n", grpc=HERE))
    found = contained(plan, quarantined(Held(BAD, Step.BEFORE, OLD)))
    assert found.models == {"m": replace(OLD, grpc=THERE, http=HERE), "n": plan.models["n"]}


def test_a_model_that_was_never_accepted_is_closed_and_at_last_has_no_route() -> None:
    plan = planned(replace(BAD, grpc=HERE), ModelRoute("n"))
    assert contained(plan, quarantined(Held(BAD, Step.CLOSED))).models["m"] == ModelRoute("m")
    assert set(contained(plan, quarantined(Held(BAD, Step.GONE))).models) == {"n"}


def test_a_model_that_changed_is_no_longer_held_and_one_that_is_away_is_waited_for() -> None:
    held = quarantined(Held(BAD, Step.GONE))
    changed = planned(replace(BAD, stateful=True))
    assert contained(changed, held) is changed
    assert ended(held, changed) == ["m"]
    assert ended(held, planned(ModelRoute("n"))) == []
    assert ended(held, planned(replace(BAD, grpc=HERE, hedge_after=0.2, hopeless=True))) == []


def test_each_refusal_leads_one_step_further() -> None:
    route, quarantine, steps = replace(BAD, grpc=HERE), NOBODY, []
    for _ in Step:
        steps.append(hold(quarantine, route, OLD))
        quarantine = quarantined(steps[-1])
    assert steps == [Held(BAD, step, OLD) for step in Step]
    assert [step.effect for step in Step] == [
        "it is treated as it was before",
        "its calls are answered UNAVAILABLE",
        "it has no route",
    ]


def test_without_another_treatment_of_before_a_model_is_closed_at_once() -> None:
    assert hold(NOBODY, BAD, None) == hold(NOBODY, BAD, BAD) == Held(BAD, Step.CLOSED)
    other = quarantined(Held(OLD, Step.GONE))
    assert hold(other, BAD, None) == Held(BAD, Step.CLOSED), "what was held of it before was something else"


def test_what_stands_in_for_a_held_model_does_not_count_as_accepted() -> None:
    plan = planned(replace(BAD, grpc=HERE), ModelRoute("n", grpc=HERE), ModelRoute("o"))
    held = quarantined(Held(BAD, Step.BEFORE, OLD), Held(ModelRoute("n"), Step.CLOSED))
    assert treatments(plan, held) == {"m": OLD, "o": ModelRoute("o")}


def test_suspects_are_those_treated_otherwise_wherever_they_run() -> None:
    plan = planned(replace(BAD, grpc=HERE), ModelRoute("n", grpc=THERE), ModelRoute("o"))
    assert suspects(plan, {"m": OLD, "n": ModelRoute("n")}) == ["m", "o"]


def test_a_canary_gets_a_plan_without_endpoints() -> None:
    plan = planned(replace(BAD, grpc=HERE), ModelRoute("n", grpc=THERE))
    assert without(plan, ["m"]).models == {"n": ModelRoute("n")}
