"""Two proxies take a node out of traffic because a governator wishes it, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from inferno_governator.budgets.keeper import BudgetKeeper
from inferno_governator.caps import Caps
from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.decision_service import Deciding
from inferno_governator.decisions.mode import Mode, ModeKeeper
from inferno_governator.enacting.drains import Drains, Wish
from inferno_governator.forecast.keeper import ForecastKeeper
from inferno_governator.forecast.settings import ForecastSettings
from inferno_governator.governance_service import GovernanceService
from inferno_governator.intake import Intake
from inferno_governator.metrics import Metrics
from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.prices.rules import Rules
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_governator.watch.objective_keeper import ObjectiveKeeper
from inferno_governator.watch.watcher import Watcher
from inferno_proxy.audit import AuditLog
from inferno_proxy.fleet import Phase
from inferno_proxy.orders.drains import Draining
from inferno_runtime.clock import SystemClock
from tests.integration.inferno_governator.governators import served
from tests.unit.inferno_proxy.nodes import node
from tests.unit.inferno_proxy.registries import World
from tests.waiting import eventually


def _counting(under_way: Mapping[str, int], name: str) -> Callable[[str], int]:
    return lambda _: under_way[name]


async def test_a_node_is_empty_when_both_proxies_have_nothing_on_it(sqlite_url: str, socket_dir: Path) -> None:
    clock, metrics = SystemClock(), Metrics()
    under_way = {"one": 0, "two": 1}
    worlds = {name: World() for name in under_way}
    async with Store(parse_database(sqlite_url), clock) as store:
        book, drains = DecisionBook(store, clock), Drains(clock)
        budgets = BudgetKeeper(store, clock, ())
        service = GovernanceService(
            store,
            Intake(store.commit, 1000, clock, metrics),
            clock,
            metrics,
            budgets,
            Watcher(store, clock, metrics, budgets, ObjectiveKeeper(store, ()), 60),
            PriceKeeper(store, clock, Rules()),
            Deciding(
                book,
                ModeKeeper(book, Mode.OBSERVE),
                drains,
                Caps(),
                {},
                ForecastKeeper(store, clock, ForecastSettings()),
            ),
        )
        async with service, served(service, socket_dir), asyncio.TaskGroup() as group:
            tasks = []
            for name, world in worlds.items():
                world.registry.join(node("a"))
                audit = AuditLog(socket_dir / f"{name}.log", clock)
                target = f"unix:{socket_dir / 'service'}"
                proxy = Draining(target, name, world.registry, _counting(under_way, name), audit, clock)
                tasks.append(group.create_task(proxy.run()))
            drains.set([Wish("a", "idle")])
            await eventually(
                lambda: drains.progress("a").pending == "1 calls under way through proxy two", 60, "drained"
            )
            assert [world.phase("a") for world in worlds.values()] == [Phase.DRAINING] * 2
            under_way["two"] = 0
            await eventually(lambda: drains.progress("a").empty, 60, "it is empty")
            drains.set([])
            await eventually(lambda: worlds["two"].phase("a") is Phase.SERVING, 60, "it is back")
            for task in tasks:
                task.cancel()
