"""The watcher on real telemetry of a day: spend that doubles is found, with its cause."""

from __future__ import annotations

import pytest

from inferno_governator.alerts.alert import Alert, Kind, Severity
from inferno_governator.budgets.keeper import BudgetKeeper
from inferno_governator.metrics import Metrics
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_governator.usage import Batch, Facts, ModelPoint, SeriesKey, StreamKey
from inferno_governator.watch.objective_keeper import ObjectiveKeeper
from inferno_governator.watch.watcher import Watcher
from inferno_runtime.clock import ManualClock

MINUTE = 60_000_000
MODEL = SeriesKey("model", "m", "1")
CPU = SeriesKey("cpu", "cpu", "")
# At the start of a stretch.
START = 1_700_000_400 // 600 * 10
DAY = 1440


def minutes(sequence: int, start: int, end: int, price: int, node: str = "n", requests: int = 100) -> Batch:
    """A node that computed half of each minute, for some requests in each."""
    points: list[ModelPoint] = [
        (at * MINUTE + MINUTE, MINUTE, requests, 0, requests, requests, requests * 1000, 0, MINUTE // 2, 0)
        for at in range(start, end)
    ]
    return Batch(
        StreamKey(node, 1),
        sequence,
        {MODEL: points} if requests else {},
        {CPU: [(at * MINUTE + MINUTE, MINUTE, MINUTE // 2, 1, 2, 0) for at in range(start, end)]},
        2 * len(points),
        Facts(price, region="eu"),
        first_micros=start * MINUTE,
        last_micros=end * MINUTE,
    )


async def found(watcher: Watcher, clock: ManualClock, until: int) -> list[Alert]:
    """Look each minute until one; what begins, but for the node's silence, since it sends all at once."""
    alerts = []
    while clock.wall() < until * 60:
        alerts += await watcher.look()
        await clock.advance(60)
    return [each for each in alerts if each.finding.kind is not Kind.NODE]


async def watched(store: Store, clock: ManualClock) -> Watcher:
    """A watcher that has read the day before."""
    metrics = Metrics()
    watcher = Watcher(store, clock, metrics, BudgetKeeper(store, clock, ()), ObjectiveKeeper(store, ()), 60)
    assert await found(watcher, clock, START + DAY + 30) == []
    return watcher


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall=(START + DAY) * 60)


async def test_a_price_that_doubles_is_found_within_twenty_minutes_as_such(
    database_url: str, clock: ManualClock
) -> None:
    async with Store(parse_database(database_url), clock) as store:
        await store.commit([minutes(1, START, START + DAY + 30, 3_600_000)])
        watcher = await watched(store, clock)
        await store.commit([minutes(2, START + DAY + 30, START + DAY + 60, 7_200_000)])
        alerts = {alert.finding.subject: alert for alert in await found(watcher, clock, START + DAY + 50)}
        assert alerts.keys() == {"the fleet", "model m", "nodes in eu"}
        spend = alerts["the fleet"].finding
        assert (spend.kind, spend.severity) == (Kind.SPEND, Severity.CRITICAL)
        assert "Spend per request of the fleet is 2.0 times the usual" in spend.cause
        assert "price moved (+$0.6000 in 10 min)" in spend.cause
        assert spend.evidence["demand moved"] == "+$0.0000"
        moved = alerts["nodes in eu"].finding
        assert (moved.kind, moved.severity) == (Kind.PRICE, Severity.WARNING)
        assert "costs $7.20 instead of $3.60 (+100%)" in moved.cause


async def test_nodes_that_nobody_needs_are_found_and_named(sqlite_url: str, clock: ManualClock) -> None:
    async with Store(parse_database(sqlite_url), clock) as store:
        await store.commit([minutes(1, START, START + DAY + 60, 3_600_000)])
        watcher = await watched(store, clock)
        await store.commit(
            [minutes(1, START + DAY + 30, START + DAY + 60, 3_600_000, node=name, requests=0) for name in "ab"]
        )
        alerts = [alert.finding for alert in await found(watcher, clock, START + DAY + 50)]
        (spend,) = [each for each in alerts if each.kind is Kind.SPEND]
        assert spend.subject == "the fleet"
        assert "3.0 times the usual" in spend.cause
        assert "utilisation moved" in spend.cause
        assert "2 nodes are new: a, b" in spend.cause
        assert spend.evidence["utilisation"] == "50% to 17%"


async def test_nodes_without_a_price_are_one_alert(sqlite_url: str, clock: ManualClock) -> None:
    async with Store(parse_database(sqlite_url), clock) as store:
        await store.commit([minutes(1, START + DAY - 60, START + DAY, 0, node=name) for name in ("a", "b", "c", "d")])
        watcher = Watcher(store, clock, Metrics(), BudgetKeeper(store, clock, ()), ObjectiveKeeper(store, ()), 60)
        alerts = [alert.finding for alert in await found(watcher, clock, START + DAY + 26)]
        (unpriced,) = [each for each in alerts if each.kind is Kind.UNPRICED]
        assert unpriced.cause == "4 nodes have no price, so the bill is too low: a, b, c, …."


async def test_a_sick_gpu_is_an_alert_until_its_node_says_that_it_is_well(
    database_url: str, clock: ManualClock
) -> None:
    async with Store(parse_database(database_url), clock) as store:
        watcher = Watcher(store, clock, Metrics(), BudgetKeeper(store, clock, ()), ObjectiveKeeper(store, ()), 60)

        async def said(sequence: int, faults: dict[str, str]) -> list[tuple[str, str, bool]]:
            now = int(clock.wall())
            point = (now * 1_000_000, 1_000_000, 0, 1, 2, 0)
            batch = Batch(
                StreamKey("n", 1),
                sequence,
                {},
                {SeriesKey("gpu", "GPU-1", ""): [point], CPU: [point]},
                2,
                first_micros=(now - 1) * 1_000_000,
                last_micros=now * 1_000_000,
                faults={device: (now * 1_000_000, fault) for device, fault in faults.items()},
            )
            await store.commit([batch])
            changed = await watcher.look()
            await clock.advance(120)
            of_nodes = [each for each in changed if each.finding.kind is Kind.NODE]
            return [(each.finding.subject, each.finding.cause, each.end_micros is None) for each in of_nodes]

        assert await said(1, {}) == []
        assert await said(2, {"GPU-1": "It has reported Xid 48."}) == [
            ("n GPU-1", "Node n: It has reported Xid 48.", True)
        ]
        # What was said first is known; the newest word is what stands in the list.
        await said(3, {"GPU-1": "It has reported Xid 79."})
        (lasts,) = await watcher.alerts(ended=False)
        assert lasts.finding.cause == "Node n: It has reported Xid 79."
        ended = [each for sequence in range(4, 12) for each in await said(sequence, {})]
        assert ended == [("n GPU-1", "Node n: It has reported Xid 79.", False)]
