"""What happened, for whoever watches."""

from __future__ import annotations

from inferno_proxy.events import EventLog
from inferno_runtime.clock import ManualClock


async def test_a_watcher_gets_what_is_kept_and_then_each_new_event() -> None:
    log = EventLog(ManualClock(wall=5.0), capacity=2)
    for subject in "abc":
        log.add("KIND", subject, "It happened.")
    followed = log.follow()
    first = [await anext(followed), await anext(followed)]
    assert [(e.number, e.time, e.subject) for e in first] == [(2, 5.0, "b"), (3, 5.0, "c")]
    log.add("OTHER", "d", "It happened too.")
    assert (await anext(followed)).subject == "d"
    await followed.aclose()
    assert log.counts == {"KIND": 3, "OTHER": 1}


async def test_a_watcher_may_skip_the_past() -> None:
    log = EventLog(ManualClock())
    log.add("KIND", "past", "It happened.")
    followed = log.follow(only_new=True)
    import asyncio

    step = asyncio.create_task(anext(followed))
    await asyncio.sleep(0)
    log.add("KIND", "new", "It happened.")
    assert (await step).subject == "new"
    await followed.aclose()


async def test_an_event_during_the_hand_over_is_handed_over_once() -> None:
    log = EventLog(ManualClock())
    log.add("KIND", "a", "It happened.")
    followed = log.follow()
    seen = [(await anext(followed)).subject]
    log.add("KIND", "b", "It happened.")
    seen.append((await anext(followed)).subject)
    log.add("KIND", "c", "It happened.")
    seen.append((await anext(followed)).subject)
    await followed.aclose()
    assert seen == ["a", "b", "c"]


def test_an_act_of_healing_is_one_sentence_and_its_parts() -> None:
    log = EventLog(ManualClock())
    log.healed(
        "NODE_BACK", "a", cause="The node hung", evidence="3 calls, no answer", effect="it takes calls again", seconds=2
    )
    (event,) = log.kept
    assert event.message == "The node hung (3 calls, no answer): it takes calls again after 2.0 s."
    assert (event.cause, event.evidence, event.effect) == (
        "The node hung",
        "3 calls, no answer",
        "it takes calls again",
    )
    assert event.seconds == 2
