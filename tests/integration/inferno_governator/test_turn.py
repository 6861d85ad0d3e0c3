"""One governator of a database decides, and another takes over when it ends."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_governator.store.turn import Turn
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Unavailable
from tests.waiting import eventually


async def test_one_has_the_turn_until_it_leaves(database_url: str) -> None:
    address = parse_database(database_url)
    async with Store(address, ManualClock()), Turn(address) as second:
        async with Turn(address) as first:
            for _ in range(3):
                assert (await first.mine(), await second.mine()) == (True, False)
        await eventually(second.mine, 60, "the other one has taken over")
        assert not await first.mine()


async def test_whose_session_is_cut_off_has_lost_its_turn(postgres_url: str) -> None:
    address = parse_database(postgres_url)
    async with Store(address, ManualClock()) as store, Turn(address) as first, Turn(address) as second:
        assert await first.mine()
        async with store.writing() as connection:
            sessions = "FROM pg_stat_activity WHERE application_name = 'inferno-governator-turn'"
            here = "datname = current_database()"
            await connection.execute(text(f"SELECT pg_terminate_backend(pid) {sessions} AND {here}"))
        await eventually(second.mine, 60, "the other one has taken over")
        with pytest.raises(Unavailable):
            await first.mine()
        assert not await first.mine()
