"""The ledger on both databases: what is changed or removed in it is found and named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.entry import Draft, Kind
from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_runtime.clock import ManualClock

START = Proposal(Verb.START, "small", Reason.BELOW_MINIMUM, "Nothing serves.")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store(parse_database(database_url), ManualClock()) as store:
        yield store


async def five(store: Store) -> DecisionBook:
    book = DecisionBook(store, ManualClock())
    for number in range(5):
        await book.note(Draft(Kind.MODE, {"mode": f"{number}"}, by="operator ada"))
    return book


async def test_entries_follow_one_another(store: Store) -> None:
    book = await five(store)
    newest = await book.entries(limit=2)
    assert [each.number for each in newest] == [5, 4]
    assert newest[0].previous == newest[1].hash
    assert [each.number for each in await book.after(3)] == [4, 5]
    integrity = await book.verify()
    assert (integrity.count, integrity.head, integrity.damage) == (5, newest[0].hash, None)


async def test_an_empty_ledger_is_whole(store: Store) -> None:
    assert (await DecisionBook(store, ManualClock()).verify()).damage is None


@pytest.mark.parametrize(
    ("damage", "number", "said"),
    [
        ("UPDATE ledger_entry SET content = '{}' WHERE number = 3", 3, "not what was written"),
        ("UPDATE ledger_entry SET by = 'nobody' WHERE number = 1", 1, "not what was written"),
        ("DELETE FROM ledger_entry WHERE number = 2", 2, "missing"),
        ("DELETE FROM ledger_entry WHERE number >= 4", 4, "missing"),
        ("UPDATE ledger_head SET hash = 'x'", 5, "written last"),
    ],
)
async def test_damage_is_found_and_named(store: Store, damage: str, number: int, said: str) -> None:
    book = await five(store)
    async with store.writing() as connection:
        await connection.execute(text(damage.replace(" by =", ' "by" =')))
    found = (await book.verify()).damage
    assert found is not None
    assert found.number == number
    assert said in found.sentence


async def test_a_decision_and_its_intents_are_written_together_and_outcomes_after_them(store: Store) -> None:
    book = DecisionBook(store, ManualClock())
    draft = Draft(Kind.DECISION, {"mode": "act"}, None)
    entry, (one, two) = await book.decide(draft, [START, START], waits=True, real=["small"])
    assert (entry.number, entry.decision, one.number, two.number) == (1, 1, 1, 2)
    assert one.node != two.node
    assert await book.under_way() == await book.of_decision(1) == [one, two]
    approved = await book.approve([one, two], "operator ada")
    assert [each.waits for each in approved] == [False, False]
    done = await book.advance(approved[0], replace(approved[0], outcome=Outcome.DONE, ended_micros=5))
    assert done is not None
    assert [each.kind for each in await book.entries(decision=1)] == [Kind.OUTCOME, Kind.APPROVAL, Kind.DECISION]
    assert [each.number for each in await book.under_way()] == [2]
    assert [each.number for each in await book.unmeasured(10)] == [1]
    assert (await book.verify()).damage is None


async def test_what_another_governator_has_changed_is_not_changed_again(store: Store) -> None:
    book = DecisionBook(store, ManualClock())
    _, (intent,) = await book.decide(Draft(Kind.DECISION, {}, None), [START], waits=False, real=["small"])
    called = replace(intent, calls=1)
    assert await book.advance(intent, called) == called
    assert await book.advance(intent, called) is None
    assert [each.kind for each in await book.entries()] == [Kind.OUTCOME, Kind.DECISION]
