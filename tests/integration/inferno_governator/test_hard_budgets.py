"""A hard budget, from spending to what proxies are told."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferno.governance.v1.cap_pb2 import Cap, WatchCapsRequest
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno_governator.budgets.periods import window
from inferno_governator.budgets.settings import BudgetSettings
from inferno_runtime.clock import ManualClock
from inferno_runtime.identity.caller import DOOR
from tests.integration.inferno_governator.governators import governator
from tests.integration.inferno_governator.nodes import FACTS, batch
from tests.waiting import eventually

BUDGETS = {
    # A node at 1,000 micro-dollars a second; its model computes half of each second.
    "of-m": BudgetSettings(amount=Decimal("0.0005"), period="day", model="m", hard=True),
    "soft": BudgetSettings(amount=Decimal("0.0001"), period="day", model="m"),
    "more": BudgetSettings(amount=Decimal(1), period="day", hard=True),
}


async def test_proxies_are_told_of_a_hard_budget_once_it_is_spent_and_when_it_begins_anew(
    database_url: str, socket_dir: Path
) -> None:
    clock = ManualClock()
    async with governator(database_url, socket_dir, clock=clock, budgets=BUDGETS) as client:
        told: Any = GovernanceServiceStub(client.channel).WatchCaps(WatchCapsRequest(), timeout=60)
        assert not (await told.read()).caps
        await client.store([batch(1, at=clock.wall(), facts=FACTS)])
        await eventually(lambda: clock.sleepers == 4, 20, "the next looks are planned")
        end = window("day", int(clock.wall()) // 60).end_minute * 60
        await clock.advance(10)
        (cap,) = (await told.read()).caps
        spent = Cap(model="m", reason="budget of-m is spent")
        spent.until.seconds = end
        assert cap == spent
        # Whoever asks later is told at once.
        again: Any = GovernanceServiceStub(client.channel).WatchCaps(WatchCapsRequest(), timeout=60)
        assert (await again.read()).caps == [spent]
        await eventually(lambda: clock.sleepers == 4, 20, "the next looks are planned")
        clock.jump_wall(86_400)
        await clock.advance(10)
        assert not (await told.read()).caps


async def test_a_client_of_the_public_port_is_not_told(sqlite_url: str, socket_dir: Path) -> None:
    async with governator(sqlite_url, socket_dir) as client:
        stub: Any = GovernanceServiceStub(client.channel)
        told = stub.WatchCaps(WatchCapsRequest(), metadata=((DOOR, "public"),), timeout=60)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await told.read()
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
