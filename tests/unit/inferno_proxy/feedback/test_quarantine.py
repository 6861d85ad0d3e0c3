from __future__ import annotations

import asyncio
from dataclasses import replace

from inferno_proxy.events import EventLog
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.feedback.quarantine import Quarantine
from inferno_proxy.fleet import Address, FleetView, Member, Phase, Source
from inferno_runtime.clock import ManualClock
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.nodes import node


def fleet(*dead: str) -> FleetView:
    members = {
        name: Member(node(name, port=port), Phase.FAILED if name in dead else Phase.SERVING, Source.AGENT, 0.0)
        for port, name in enumerate("abc", 1)
    }
    return FleetView(len(dead), members)


async def test_a_request_is_refused_as_soon_as_its_second_death_is_known_and_for_ten_minutes() -> None:
    clock = ManualClock()
    events, view = EventLog(clock), Latest(fleet())
    advice = Latest(Advice(hedge_after={"m": 0.5}))
    quarantine = Quarantine(view, advice, events, clock)
    task = asyncio.create_task(quarantine.run())
    await clock.settle()
    one = Try("m", Address("127.0.0.1", 1), Outcome.RESET, 0.1, clock.monotonic(), fingerprint="bad")
    view.set(fleet("a"))
    await clock.settle()
    view.set(fleet("a", "b"))
    await clock.settle()
    assert not advice.value.quarantined
    quarantine.tries([replace(one, outcome=Outcome.ANSWERED, fingerprint="good")])
    quarantine.tries([one, replace(one, address=Address("127.0.0.1", 2))])
    await clock.settle()
    assert advice.value == Advice(hedge_after={"m": 0.5}, quarantined={"m": frozenset({"bad"})})
    for _ in range(601):
        await clock.advance(1)
    assert not advice.value.quarantined
    assert [event.kind for event in events.kept] == ["REQUEST_QUARANTINED", "REQUEST_RELEASED"]
    task.cancel()
