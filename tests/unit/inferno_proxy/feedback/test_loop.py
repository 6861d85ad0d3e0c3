from __future__ import annotations

import asyncio

import pytest

from inferno_proxy.events import EventLog
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.loop import Learning
from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import Model, ModelLoad, ModelState, ModelVersion, Node
from inferno_proxy.publishing.publisher import Recipe
from inferno_proxy.registry.lease import Terms
from inferno_proxy.registry.registry import Registry
from inferno_proxy.resources import ResourceSettings
from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.routing.traffic import Traffic, TrafficTable
from inferno_runtime.clock import ManualClock
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.feedback.simulation import MODEL, address


async def test_advice_follows_twice_a_second_and_each_act_is_an_event() -> None:
    clock = ManualClock()
    events = EventLog(clock)
    registry = Registry(Terms(), clock, events)
    models = (Model(MODEL, (ModelVersion("1", ModelState.READY),)),)
    leases = {name: registry.join(Node(name, 1, address(name), models=models)) for name in "ab"}
    advice = Latest(Advice())
    recipe = Recipe(RoutingSettings(), ResourceSettings("control.sock", "http.sock"))
    learning = Learning(registry, Latest(recipe), advice, events, clock)
    task = asyncio.create_task(learning.run())
    await clock.settle()
    await clock.advance(0.5)
    leases["a"].renew((ModelLoad(MODEL, -1, 0, 0, 0),))
    for name, seconds in (("a", 0.01), ("b", 0.1)):
        one = Try(MODEL, address(name), Outcome.ANSWERED, seconds, clock.monotonic())
        learning.learner.tries([one] * 50)
    await clock.advance(0.5)
    assert set(advice.value.weights) == {(MODEL, "b")}
    kinds = {event.kind: event for event in events.kept}
    assert "it reports a negative number" in kinds["LOAD_DISTRUSTED"].message
    assert kinds["WEIGHT_REDUCED"].subject == "b"
    assert kinds["WEIGHT_REDUCED"].effect.startswith("its share is ")
    task.cancel()


async def test_a_judgement_that_fails_leaves_every_node_equal_and_the_control_plane_alive() -> None:
    clock = ManualClock()
    registry = Registry(Terms(), clock, EventLog(clock))
    registry.join(Node("a", 1, address("a"), models=(Model(MODEL, (ModelVersion("1", ModelState.READY),)),)))
    advice = Latest(Advice(weights={(MODEL, "a"): 5}))
    defect = Latest(Recipe(None, ResourceSettings("control.sock", "http.sock")))  # type: ignore[arg-type]
    task = asyncio.create_task(Learning(registry, defect, advice, EventLog(clock), clock).run())
    await clock.settle()
    await clock.advance(0.5)
    assert advice.value == Advice()
    await clock.advance(5)
    assert not task.done()
    task.cancel()


async def test_retries_that_help_nobody_end_without_waiting_for_the_next_round() -> None:
    clock = ManualClock()
    events, advice = EventLog(clock), Latest(Advice(weights={(MODEL, "b"): 5}))
    recipe = Recipe(RoutingSettings(), ResourceSettings("control.sock", "http.sock"))
    learning = Learning(Registry(Terms(), clock, events), Latest(recipe), advice, events, clock)
    learning.counts([Counts("envoy", MODEL, address("a"), 40, 0, 40, 0, 0.5, clock.monotonic())])
    assert advice.value == Advice(weights={(MODEL, "b"): 5}, hopeless=frozenset({MODEL}))
    assert [event.kind for event in events.kept] == ["BROWN_OUT"]


@pytest.mark.parametrize("traffic", [Traffic(max_wait=0.2), Traffic(hedge_after=0.4)])
async def test_a_fleet_with_more_calls_than_it_can_do_gets_a_limit(traffic: Traffic) -> None:
    clock = ManualClock()
    events = EventLog(clock)
    registry = Registry(Terms(), clock, events)
    registry.join(Node("a", 1, address("a"), models=(Model(MODEL, (ModelVersion("1", ModelState.READY),)),)))
    recipe = Recipe(RoutingSettings(TrafficTable({MODEL: traffic})), ResourceSettings("c", "h"))
    advice = Latest(Advice())
    learning = Learning(registry, Latest(recipe), advice, events, clock)
    task = asyncio.create_task(learning.run())
    await clock.settle()
    for taken, under_way in ((0.05, 1), (0.05, 1), (2.0, 40), (2.0, 40)):
        now = clock.monotonic()
        learning.learner.tries([Try(MODEL, address("a"), Outcome.ANSWERED, taken, now)] * 16)
        learning.counts([Counts("envoy", MODEL, address("a"), 10, 10, 0, under_way, 0.5, now)])
        await clock.advance(0.5)
    assert advice.value.limits == {MODEL: 6}
    assert "OVERLOAD_SHEDDING" in [event.kind for event in events.kept]
    task.cancel()
