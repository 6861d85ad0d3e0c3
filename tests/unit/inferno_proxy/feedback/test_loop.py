from __future__ import annotations

import asyncio

from inferno_proxy.events import EventLog
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.loop import Learning
from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.fleet import Model, ModelLoad, ModelState, ModelVersion, Node
from inferno_proxy.lease import Terms
from inferno_proxy.publisher import Recipe
from inferno_proxy.registry import Registry
from inferno_proxy.resources import ResourceSettings
from inferno_proxy.routing import RoutingSettings
from inferno_runtime.clock import ManualClock
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.feedback.simulation import MODEL
from tests.unit.inferno_proxy.feedback.test_learner import address


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
