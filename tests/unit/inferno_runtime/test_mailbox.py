from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from inferno_runtime.mailbox import Mailbox


async def test_a_full_mailbox_drops_the_oldest_item_and_counts_it() -> None:
    box: Mailbox[int] = Mailbox(2)
    for item in (1, 2, 3):
        box.put(item)
    assert box.dropped == 1
    assert await box.take(2, linger=3600) == [2, 3]


async def test_a_full_batch_is_taken_without_lingering() -> None:
    box: Mailbox[int] = Mailbox(10)
    for item in range(5):
        box.put(item)
    assert await box.take(3, linger=3600) == [0, 1, 2]
    assert await box.take(2, linger=3600) == [3, 4]


async def test_a_smaller_batch_is_taken_when_the_linger_ends() -> None:
    box: Mailbox[int] = Mailbox(10)
    box.put(1)
    assert await box.take(3, linger=0.01) == [1]


async def test_a_reader_waits_for_the_first_item_and_then_for_more() -> None:
    box: Mailbox[str] = Mailbox(10)
    taking = asyncio.create_task(box.take(2, linger=60))
    await asyncio.sleep(0)
    box.put("a")
    await asyncio.sleep(0)
    box.put("b")
    assert await taking == ["a", "b"]


async def test_a_hastened_mailbox_hands_out_what_is_there_and_still_waits_for_a_first_item() -> None:
    box: Mailbox[int] = Mailbox(10)
    box.put(1)
    taking = asyncio.create_task(box.take(3, linger=3600))
    await asyncio.sleep(0)
    box.hasten()
    assert await taking == [1]
    taking = asyncio.create_task(box.take(3, linger=3600))
    await asyncio.sleep(0)
    box.put(2)
    assert await taking == [2]


@given(capacity=st.integers(1, 5), puts=st.integers(0, 12))
async def test_nothing_is_lost_uncounted(capacity: int, puts: int) -> None:
    box: Mailbox[int] = Mailbox(capacity)
    for item in range(puts):
        box.put(item)
    assert len(box) + box.dropped == puts
    if puts:
        assert await box.take(puts, linger=0) == list(range(puts))[-capacity:]
