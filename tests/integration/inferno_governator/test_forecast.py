"""The governator forecasts demand from the telemetry it has stored, and decides by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferno.governance.v1 import forecast_pb2 as wire
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno_governator.decisions.fleet import FleetFacts, ModelFacts, PoolFacts
from inferno_governator.forecast.keeper import ForecastKeeper, boots
from inferno_governator.forecast.settings import ForecastSettings
from inferno_governator.pools.settings import PoolSettings
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_governator.usage import Batch, Facts, SeriesKey, StreamKey
from inferno_runtime.clock import ManualClock
from tests.integration.inferno_governator.governators import governator

MICROS = 1_000_000
POOL = PoolFacts("small", "cloud", ("m",), MICROS, boot_seconds=600.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    async with Store(parse_database(f"sqlite:///{tmp_path / 'store.db'}"), clock) as store:
        yield store


class Telemetry:
    """A node that tells once a minute what was asked of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sequence = 0

    async def tell(self, minutes: range, requests: int) -> None:
        points = [
            ((minute + 1) * 60 * MICROS, 60 * MICROS, requests, 0, requests, requests, requests, 0, 0, 0)
            for minute in minutes
        ]
        self._sequence += 1
        key = SeriesKey("model", "m", "1")
        await self._store.commit([Batch(StreamKey("n", 1), self._sequence, {key: points}, {}, len(points), Facts(5))])


async def test_demand_is_read_by_the_minute_and_grows_as_it_did(store: Store, clock: ManualClock) -> None:
    now = int(clock.wall() // 60)
    node, keeper = Telemetry(store), ForecastKeeper(store, clock, ForecastSettings())
    for stretch in range(30):
        start = now - 300 + 10 * stretch
        await node.tell(range(start, start + 10), 600 if stretch % 3 else 690)
    facts = FleetFacts(clock.wall(), models=(ModelFacts("m", 10.0), ModelFacts("other")), pools=(POOL,))
    known = (await keeper.expecting(facts)).models[0]
    assert known.recent[-1] == (now * 60.0, 10.0)
    assert known.recent[0][0] <= clock.wall() - POOL.boot_seconds
    assert 10.0 < known.forecast <= 12.0
    # What no pool serves is not forecast.
    assert (await keeper.expecting(facts)).models[1] == ModelFacts("other")


async def test_after_a_silence_nothing_is_known_of_before(store: Store, clock: ManualClock) -> None:
    now = int(clock.wall() // 60)
    node, keeper = Telemetry(store), ForecastKeeper(store, clock, ForecastSettings())
    await node.tell(range(now - 60, now - 20), 600)
    await node.tell(range(now - 5, now), 600)
    found = await keeper.forecasts(boots([POOL]))
    assert len(found["m"].recent) == 5
    assert not found["m"].scores


async def test_the_gate_is_asked_once_a_day_and_says_why(store: Store, clock: ManualClock) -> None:
    now = int(clock.wall() // 60)
    node = Telemetry(store)
    await node.tell(range(now - 600, now), 600)
    keeper = ForecastKeeper(store, clock, ForecastSettings())
    await keeper.choose({"m": 600.0})
    last, *others = (await keeper.forecasts({"m": 600.0}))["m"].scores
    assert (last.name, last.chosen) == ("last value", True)
    assert all("it wants more history" in each.why for each in others)


async def test_forecasts_are_told_of_what_pools_serve(sqlite_url: str, socket_dir: Path) -> None:
    pools = {"small": PoolSettings(provider="local", models=("m",), boot_seconds=90, options={"command": "sleep 1000"})}
    async with governator(sqlite_url, socket_dir, pools=pools) as client:
        stub: Any = GovernanceServiceStub(client.channel)
        answer = await stub.ListForecasts(wire.ListForecastsRequest(), timeout=60)
        (told,) = answer.forecasts
        assert (told.model, told.rate, told.expected, told.quantile, told.boot_seconds) == ("m", 0, 0, 0.9, 90)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.ListForecasts(wire.ListForecastsRequest(model="other"), timeout=60)
        assert failed.value.code() is grpc.StatusCode.NOT_FOUND
