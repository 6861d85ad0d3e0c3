"""Budgets over the wire, on both databases, from telemetry to the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.budget_pb2 import Budget, BudgetScope
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno_governator.budgets.settings import BudgetSettings
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import AlreadyExists, InfernoError, InvalidInput, NotFound
from inferno_runtime.identity.caller import CERTIFICATE, DOOR
from inferno_runtime.rpc import error_from_rpc
from tests.integration.inferno_governator.governators import StoppableClient, governator, governator_process
from tests.integration.inferno_governator.nodes import FACTS, batch

SETTLED = {"all": BudgetSettings(amount=Decimal(1), period="day")}


class Budgets:
    """The calls about budgets."""

    def __init__(self, client: StoppableClient) -> None:
        self._stub: Any = GovernanceServiceStub(client.channel)

    async def ls(self, scope: BudgetScope | None = None) -> wire.ListBudgetsResponse:
        answer: wire.ListBudgetsResponse = await self._stub.ListBudgets(
            wire.ListBudgetsRequest(scope=scope), timeout=20
        )
        return answer

    async def set(self, name: str, micros: int, period: str = "day", **scope: str) -> None:
        budget = Budget(name=name, amount_micros=micros, period=period, scope=BudgetScope(**scope))
        await self._stub.SetBudget(wire.SetBudgetRequest(budget=budget), timeout=60)

    async def rm(self, name: str) -> None:
        await self._stub.DeleteBudget(wire.DeleteBudgetRequest(name=name), timeout=60)

    async def error(self, call: Any) -> InfernoError:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        return error_from_rpc(failed.value, "the governator")


async def test_spending_counts_in_every_budget_that_covers_it_and_the_one_with_the_least_left_binds(
    database_url: str, socket_dir: Path
) -> None:
    clock = ManualClock()
    async with governator(database_url, socket_dir, clock=clock, budgets=SETTLED) as client:
        budgets = Budgets(client)
        await budgets.set("of-m", 800, model="m")
        # A node at 1,000 micro-dollars a second; its model computed half of each second.
        await client.store([batch(1, at=clock.wall(), facts=FACTS)])
        everything, of_model = (await budgets.ls()).budgets
        assert (everything.budget.name, everything.spent_micros, everything.in_settings) == ("all", 1000, True)
        assert (of_model.spent_micros, of_model.left_micros, of_model.crossed_percent) == (500, 300, 50)
        assert (of_model.binding, everything.binding) == ("of-m", "all")
        chain = await budgets.ls(BudgetScope(team="t", model="m"))
        assert ([each.budget.name for each in chain.budgets], chain.binding) == (["all", "of-m"], "of-m")
        # What comes later counts too, and the same hour is never counted twice.
        await client.store([batch(each, at=clock.wall() + each - 1) for each in (1, 2)])
        everything, of_model = (await budgets.ls()).budgets
        assert (everything.spent_micros, of_model.spent_micros, of_model.crossed_percent) == (2000, 1000, 100)
        assert of_model.runs_out.seconds == int(clock.wall()) // 60 * 60
        clock.jump_wall(86_400)
        assert [each.spent_micros for each in (await budgets.ls()).budgets] == [0, 0], "a new day"


async def test_budgets_outlive_a_restart_and_those_of_the_settings_are_theirs(
    database_url: str, socket_dir: Path
) -> None:
    async with governator(database_url, socket_dir, budgets=SETTLED) as client:
        budgets = Budgets(client)
        await budgets.set("kept", 5, "72h", team="t", key="k")
        await budgets.set("kept", 6, "72h", team="t", key="k")
        await budgets.set("gone", 7)
        await budgets.rm("gone")
        assert isinstance(await budgets.error(budgets.rm("gone")), NotFound)
        for call in (budgets.rm("all"), budgets.set("all", 5)):
            error = await budgets.error(call)
            assert isinstance(error, AlreadyExists)
            assert "governator.budgets" in error.fix
        error = await budgets.error(budgets.set("x", -1))
        assert isinstance(error, InvalidInput)
        assert error.metadata["field"] == "amount"
    async with governator(database_url, socket_dir) as client:
        (kept,) = (await Budgets(client).ls()).budgets
        assert (kept.budget.amount_micros, kept.budget.scope.key, kept.budget.period) == (6, "k", "72h")
        assert list(kept.budget.thresholds) == [50, 80, 100]


async def test_only_who_may_operate_sets_a_budget(sqlite_url: str, socket_dir: Path) -> None:
    async with governator(sqlite_url, socket_dir) as client:
        stub: Any = GovernanceServiceStub(client.channel)
        node = ((DOOR, "mesh"), (CERTIFICATE, "Hash=00;URI=spiffe://inferno/node/n"))
        request = wire.SetBudgetRequest(budget=Budget(name="b", amount_micros=1, period="day"))
        assert await stub.SetBudget(request, metadata=node).code() is grpc.StatusCode.PERMISSION_DENIED
        assert await stub.ListBudgets(wire.ListBudgetsRequest(), metadata=node).code() is grpc.StatusCode.OK


def inferno(endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "inferno_cli.main", *arguments, "--endpoint", endpoint, "--timeout", "30"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=50, check=False)


async def test_the_command_line_sets_shows_explains_and_removes(sqlite_url: str) -> None:
    async with governator_process(sqlite_url) as running:
        await running.client.store([batch(1, facts=FACTS)])
        at = json.loads(running.facts)["address"]
        assert inferno(at, "budget", "set", "org", "100").returncode == 0
        assert inferno(at, "budget", "set", "team-a", "12.50", "--period", "day", "--team", "a").returncode == 0
        table = inferno(at, "budget", "ls").stdout
        assert "$12.50" in table
        assert "team a" in table
        explained = inferno(at, "budget", "explain", "--team", "a", "--key", "ci")
        assert "team a, key ci may spend $12.50 more until" in explained.stdout
        assert explained.stdout.rstrip().endswith("team-a binds.")
        assert inferno(at, "budget", "rm", "team-a").returncode == 0
        (left,) = json.loads(inferno(at, "budget", "ls", "-o", "json").stdout)
        assert (left["name"], left["amount_micros"], left["scope"]["team"]) == ("org", 100_000_000, None)
        for arguments, said in (
            (("set", "b", "1e-9"), "no amount of US dollars"),
            (("set", "b", "nan"), "no amount of US dollars"),
            (("set", "b", "5", "--period", "year"), "no period of a budget"),
            (("rm", "b"), "There is no budget 'b'"),
        ):
            done = inferno(at, "budget", *arguments)
            assert done.returncode in (1, 2)
            assert said in done.stderr
