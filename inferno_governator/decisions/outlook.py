"""Looks at the fleet: reads the store, prices, budgets and objectives, and makes the facts of a decision of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from inferno_governator.budgets.keeper import BudgetKeeper
from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.fleet import FleetFacts
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.looking import Heard, Objective, PoolPrice, fleet_facts
from inferno_governator.enacting.enactor import Listing
from inferno_governator.forecast.keeper import ForecastKeeper
from inferno_governator.money import MICROS
from inferno_governator.pools import pricing
from inferno_governator.pools.pool import Pool
from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.requests import BUCKETS, quantile_micros
from inferno_governator.store import sightings
from inferno_governator.store.store import Store
from inferno_governator.watch import objective_findings
from inferno_governator.watch.watcher import Watcher
from inferno_runtime.clock import Clock

_MICROS = 1_000_000
# Seconds for which a device that was sick stays so unless it is said again, and for which a notice holds.
_SICK, _NOTICED = 60, 3600
# Seconds ago that a provider was listed last that never was.
_NEVER = 1e6
# Whole minutes of requests that latency is taken over.
_LATENCY_MINUTES = 3
# Seconds after its end at which it is measured what an action saved.
_MEASURED_AFTER = 3600


class Outlook:
    """Reads everything anew at each look."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        pools: Mapping[str, Pool],
        prices: PriceKeeper,
        budgets: BudgetKeeper,
        watcher: Watcher,
        book: DecisionBook,
        forecasts: ForecastKeeper,
    ) -> None:
        self._store = store
        self._clock = clock
        self._pools = pools
        self._prices = prices
        self._budgets = budgets
        self._watcher = watcher
        self._book = book
        self._forecasts = forecasts
        self._listed_at: dict[str, float] = {}

    async def look(self, minimums: Mapping[str, int], listing: Listing, intents: Sequence[Intent]) -> FleetFacts:
        """The fleet now, whose models must have so many nodes where that is not 1.

        Raises:
            Unavailable: The store cannot be read now.
        """
        wall = self._clock.wall()
        now = int(wall * _MICROS)
        async with self._store.reading() as connection:
            nodes = await sightings.read(connection, now)
        ages = {
            "telemetry": wall - max((each.heard_micros for each in nodes.values()), default=now) / _MICROS,
            "prices": max((self._price_age(each) for each in self._pools.values()), default=0.0),
            "providers": self._listing_age(listing),
        }
        heard = Heard(
            now=wall,
            nodes=nodes,
            machines=listing.machines,
            listed=listing.pools,
            pools=self._pools,
            prices={name: self._price(pool) for name, pool in self._pools.items()},
            intents=intents,
            notices=await self._store.notices(now - _NOTICED * _MICROS),
            sick=await self._store.sick_devices(now - _SICK * _MICROS),
            objectives=await self._objectives(int(wall // 60)),
            capacities=await self._store.capacities("", ""),
            ages=ages,
            over_budget=await self._over_budget(),
            minimums=minimums,
        )
        return await self._forecasts.expecting(fleet_facts(heard))

    async def measure(self) -> None:
        """Write of each action that ended an hour ago what it saved, by what its own node was billed in the hour before
        it began and in the hour after it ended.

        What used up a commitment is not saved: it is paid for with the node and without. A start saves less than
        nothing, and is an action of its own, so what all actions have saved adds up. Not seen is what another node
        saves that uses the commitment afterwards, and how the load of other nodes changes.
        """
        before = int((self._clock.wall() - _MEASURED_AFTER) * _MICROS)
        for each in await self._book.unmeasured(before):
            begun, ended = each.begun_micros // (60 * _MICROS), each.ended_micros // (60 * _MICROS) + 1
            cost, covered = await self._cost(begun - 60, begun, each.node)
            after, covered_after = await self._cost(ended, ended + 60, each.node)
            await self._book.measured(
                each,
                {
                    "intent": each.number,
                    "node": each.node,
                    "forecast_micros_per_hour": each.saves_micros_per_hour,
                    "billed_hour_before_micros": cost,
                    "billed_hour_after_micros": after,
                    "committed_hour_before_micros": covered,
                    "committed_hour_after_micros": covered_after,
                    "saved_micros": (cost - covered) - (after - covered_after),
                },
            )

    async def _cost(self, start: int, end: int, node: str) -> tuple[int, int]:
        """What a node was billed from one minute until before another, and what of that used up a commitment."""
        total = committed = 0
        async with self._store.moment() as moment:
            async for chunk in moment.items(start, end):
                total += sum(item.cost_micros for item in chunk if item.node == node)
                committed += sum(item.committed_micros for item in chunk if item.node == node)
        return total, committed

    def _price(self, pool: Pool) -> PoolPrice:
        micros, why = pricing.price(pool, self._prices.minute(), self._prices.book, self._prices.overlay)
        return PoolPrice(micros, why)

    def _price_age(self, pool: Pool) -> float:
        as_of = pricing.as_of(pool, self._prices.minute(), self._prices.book)
        if as_of is None:
            return 0.0
        return max(0.0, self._clock.wall() - datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC).timestamp())

    def _listing_age(self, listing: Listing) -> float:
        now = self._clock.monotonic()
        self._listed_at.update(dict.fromkeys(listing.pools, now))
        return max((now - self._listed_at.get(name, now - _NEVER) for name in self._pools), default=0.0)

    async def _objectives(self, minute: int) -> dict[str, Objective]:
        burning = {
            objective.model: " ".join(each.cause for each in objective_findings.findings(objective, found))
            for objective, found in self._watcher.burns()
        }
        promised = {objective.model: objective for objective, _ in self._watcher.burns()}
        if not promised:
            return {}
        histograms: dict[str, list[int]] = {name: [0] * BUCKETS for name in promised}
        async with self._store.moment() as moment:
            async for chunk in moment.requests(minute - _LATENCY_MINUTES, minute + 1):
                for use in chunk:
                    if use.model in histograms:
                        known = histograms[use.model]
                        histograms[use.model] = list(map(sum, zip(known, use.histogram, strict=True)))
        return {
            name: Objective(
                each.latency_micros / _MICROS,
                quantile_micros(tuple(histograms[name]), each.share) / _MICROS,
                burning.get(name, ""),
            )
            for name, each in promised.items()
        }

    async def _over_budget(self) -> str:
        # What one team or key has spent is refused to it alone: the nodes serve the others.
        spent = [
            each
            for each in await self._budgets.standings()
            if each.left_micros <= 0 and not each.budget.scope.team and not each.budget.scope.key
        ]
        if not spent:
            return ""
        first = spent[0]
        return (
            f"Budget {first.budget.name} of {first.budget.amount_micros / MICROS:.2f} USD is spent: "
            f"{first.spent_micros / MICROS:.2f} USD."
        )
