"""What benchmarks showed, on its way to a real governator: by the running agent's stage and by the benchmark itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inferno.governance.v1 import capacity_pb2
from inferno_backend.benchmark.reporting import CapacityReporting, figures_of, message_of, send
from inferno_backend.benchmark.results import Results
from inferno_backend.link import PLAIN, Link
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Unavailable, Unsupported
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.integration.inferno_backend.mesh import Store, mesh
from tests.unit.inferno_backend.benchmark.results import figure, hardware, model, step
from tests.waiting import eventually


@asynccontextmanager
async def reporting(results: Results, clock: ManualClock, *proxies: str) -> AsyncIterator[None]:
    links: Latest[Link | None] = Latest(PLAIN)
    running = asyncio.create_task(CapacityReporting(proxies, "n1", results, clock, links).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


def times(store: Store) -> list[int]:
    return [report.measured_at.ToMicroseconds() for report in store.capacities]


async def test_the_newest_results_are_sent_once_and_each_new_one_when_it_is_there(tmp_path: Path) -> None:
    results, clock = Results(tmp_path), ManualClock()
    for one in (model(step(), at=1), model(step(), at=2), model(step(), at=3, files="g")):
        results.keep(one)
    for at, value in ((1, 900.0), (2, 1000.0)):
        results.keep(hardware(figure(value), figure(value, "GPU-2"), at=at))
    async with mesh() as far, reporting(results, clock, far.address):
        await eventually(lambda: far.store.devices, 10, "the devices' figures are sent")
        assert far.store.devices == figures_of("n1", hardware(figure(1000), figure(1000, "GPU-2"), at=2))
        await eventually(lambda: times(far.store) == [2, 3], 10, "the newest of each thing is sent")
        assert far.store.capacities[0] == message_of("n1", model(step(), at=2))
        results.keep(model(step(), at=4))
        await eventually(lambda: clock.sleepers, 10, "it waits for news")
        await clock.advance(15)
        await eventually(lambda: times(far.store) == [2, 3, 4], 10, "the new one is sent alone")
        await eventually(lambda: clock.sleepers, 10, "it waits for news")
        await clock.advance(3600)
        await eventually(lambda: clock.sleepers, 10, "it has looked once more")
        await clock.advance(15)
        await eventually(lambda: times(far.store)[3:] == [3, 4], 10, "after an hour all are sent again")


async def test_results_wait_for_a_governator_and_go_by_the_first_proxy_that_takes_them(tmp_path: Path) -> None:
    results, clock, store = Results(tmp_path), ManualClock(), Store()
    results.keep(model(step()))
    store.capacity_refusals = [Unsupported("No governator.", reason="NOT_HERE"), Unavailable("Soon.", reason="SOON")]
    async with mesh(store=store) as far, reporting(results, clock, f"127.0.0.1:{free_port()}", far.address):

        async def sent() -> bool:
            await clock.advance(60)
            return times(store) == [1]

        await eventually(sent, 20, "it is sent in the end")
        assert store.capacity_refusals == []


async def test_a_refusal_is_told_and_a_temporary_one_before_others(tmp_path: Path) -> None:
    store = Store()
    async with mesh(store=store) as far:
        store.capacity_refusals = [Unsupported("No.", reason="NO"), Unavailable("Soon.", reason="SOON")]
        with pytest.raises(Unavailable, match=r"Soon\."):
            await send((far.address, far.address), PLAIN, "n1", [model(step())])
        store.capacity_refusals = [Unsupported("No.", reason="NO")]
        with pytest.raises(Unsupported):
            await send((far.address,), PLAIN, "n1", [model(step())])
        many = [model(step(), at=at) for at in range(1, 121)]
        await send((far.address,), PLAIN, "n1", many)
    assert times(store) == [one.measured_micros for one in many]
    assert isinstance(store.capacities[0], capacity_pb2.CapacityReport)
