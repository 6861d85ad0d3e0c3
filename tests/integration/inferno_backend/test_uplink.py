"""Telemetry on its way: in order, acknowledged, sent again, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from structlog.testing import capture_logs

from inferno.governance.v1 import telemetry_pb2
from inferno_backend.link import PLAIN
from inferno_backend.node import Gpu, Hardware, Identity
from inferno_backend.sampler import of_models
from inferno_backend.triton.metrics_page import Counters
from inferno_backend.uplink import Progress, Uplink, facts_of
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import Exhausted, Unsupported
from inferno_runtime.latest import Latest
from inferno_runtime.mailbox import Mailbox
from inferno_runtime.process import free_port
from tests.integration.inferno_backend.mesh import Store, mesh
from tests.waiting import eventually

IDENTITY = Identity(
    "n1",
    7,
    Hardware(1, 1, (Gpu("GPU-1", "H100", 80),)),
    "0.1.0",
    price_micros_per_hour=3_600_000,
    region="r",
    instance_type="p5",
    spot=True,
)


def sample(number: int) -> bytes:
    key = ("m", "1")
    (encoded,) = of_models(1000.0, 1.0, {key: Counters(success=number)}, {key: Counters()}, {})
    return encoded


class Line:
    """An uplink and the mailbox it takes from."""

    def __init__(self, *proxies: str, capacity: int = 100_000, clock: Clock | None = None) -> None:
        self.mailbox: Mailbox[bytes] = Mailbox(capacity)
        self.clock = clock or SystemClock()
        self.began = self.clock.monotonic()
        self.uplink = Uplink(proxies, IDENTITY, self.mailbox, self.clock, Latest(PLAIN))

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.mailbox.put(sample(number))


class Hurried(SystemClock):
    """A clock that makes every second count for twenty, so that a silent governator is found out soon."""

    def monotonic(self) -> float:
        return super().monotonic() * 20


@asynccontextmanager
async def sending(*proxies: str, capacity: int = 100_000, clock: Clock | None = None) -> AsyncIterator[Line]:
    line = Line(*proxies, capacity=capacity, clock=clock)
    running = asyncio.create_task(line.uplink.run())
    try:
        yield line
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def numbers(store: Store) -> list[int]:
    return [each.model.requests for each in store.samples()]


def test_the_bill_learns_what_the_node_is() -> None:
    assert facts_of(IDENTITY) == telemetry_pb2.NodeFacts(
        price_micros_per_hour=3_600_000, region="r", device="H100", gpu_count=1, instance_type="p5", spot=True
    )
    assert facts_of(Identity("n", 1, Hardware(1, 1), "")).device == "cpu"


async def test_samples_arrive_in_numbered_batches_of_at_most_500_with_the_facts_first() -> None:
    async with mesh() as far, sending(far.address) as line:
        line.put(*range(1201))
        assert await line.uplink.flushed(10)
        assert numbers(far.store) == list(range(1201))
        assert [sequence for _, sequence in sorted(far.store.batches)] == [1, 2, 3]
        assert max(len(batch.samples) for batch in far.store.batches.values()) == 500
        first, *later = [batch for _, batch in sorted(far.store.batches.items())]
        assert first.facts.device == "H100"
        assert not any(batch.HasField("facts") for batch in later)
        assert (first.node_id, first.incarnation) == ("n1", 7)


async def test_the_last_samples_do_not_wait_for_more_to_fill_their_batch() -> None:
    async with mesh() as far, sending(far.address) as line:
        line.put(1)
        assert await line.uplink.flushed(5)
        line.put(2)
        # Less than the second that a batch usually waits for more.
        assert await line.uplink.flushed(0.9)
        assert numbers(far.store) == [1, 2]


async def test_what_was_not_acknowledged_is_sent_again_when_the_governator_returns() -> None:
    address, store = f"127.0.0.1:{free_port()}", Store()
    async with sending(address) as line:
        async with mesh(address, store=store):
            line.put(1)
            assert await line.uplink.flushed(5)
            store.acknowledges = False
            line.put(2)
            await eventually(lambda: line.uplink.outstanding and not len(line.mailbox), 5, "it was sent")
        line.put(3)
        assert numbers(store) == [1]
        store.acknowledges = True
        async with mesh(address, store=store):
            assert await line.uplink.flushed(15)
        assert numbers(store) == [1, 2, 3]
        assert len(store.first_of_stream) == 2
        assert store.first_of_stream[1].facts.device == "H100", "a new stream begins with the facts"


async def test_a_batch_that_arrived_but_whose_acknowledgement_was_lost_keeps_its_number() -> None:
    address, store = f"127.0.0.1:{free_port()}", Store()
    async with sending(address) as line:
        async with mesh(address, store=store):
            store.acknowledges = False
            line.put(1)
            await eventually(lambda: store.first_of_stream, 5, "it arrived")
        store.acknowledges = True
        async with mesh(address, store=store):
            assert await line.uplink.flushed(15)
        assert list(store.batches) == [(7, 1)]


async def test_a_full_buffer_drops_the_oldest_and_says_how_many() -> None:
    address, store = f"127.0.0.1:{free_port()}", Store()
    async with sending(address, capacity=3) as line:
        line.put(*range(10))
        async with mesh(address, store=store):
            assert await line.uplink.flushed(15)
            # Whether it was sent once before, to nobody, is up to how fast the other side begins.
            assert replace(line.uplink.progress, sent_again=0) == Progress(
                connected=True, dropped=7, batches=1, acknowledged_batches=1, acknowledged_samples=3
            )
    assert numbers(store) == [7, 8, 9]
    assert store.batches[7, 1].dropped_samples == 7


async def test_an_unreachable_governator_is_told_once_it_has_had_time_to_start() -> None:
    with capture_logs() as told:
        async with sending(f"127.0.0.1:{free_port()}", clock=Hurried()) as line:
            line.put(1)
            await eventually(lambda: "warning" in {one["log_level"] for one in told}, 5, "it is told")
            assert line.clock.monotonic() - line.began > 5, "seconds of its clock"
            assert not await line.uplink.flushed(1.0)
            assert line.uplink.outstanding == 1
    assert [line["event"] for line in told if line["log_level"] == "warning"] == [
        "telemetry waits",
        "samples are left behind",
    ]


async def test_a_governator_that_starts_after_the_node_is_nothing_to_warn_of() -> None:
    address, store = f"127.0.0.1:{free_port()}", Store()
    with capture_logs() as told:
        async with sending(address) as line:
            line.put(1)
            await eventually(lambda: told, 5, "a first try has failed")
            async with mesh(address, store=store):
                assert await line.uplink.flushed(10)
                assert {(one["event"], one["log_level"]) for one in told} == {("telemetry waits", "debug")}


async def test_a_proxy_without_a_governator_is_said_to_have_none() -> None:
    store = Store()
    store.refusal = Unsupported("nothing is served at /that/path on this port", reason="UNIMPLEMENTED")
    with capture_logs() as told:
        async with mesh(store=store) as far, sending(far.address) as line:
            line.put(1)
            await eventually(lambda: told, 5, "it is told")
            store.refusal = None
            assert await line.uplink.flushed(10), "and there may be one later"
    assert told[0]["log_level"] == "warning"
    assert f"the governator behind {far.address} is not there" in told[0]["error"]
    assert "--no-telemetry" in told[0]["error"]


async def test_the_next_proxy_is_tried_when_one_is_not_there() -> None:
    async with mesh() as far, sending(f"127.0.0.1:{free_port()}", far.address) as line:
        line.put(1)
        assert await line.uplink.flushed(10)
        assert numbers(far.store) == [1]


async def test_a_governator_that_asks_for_patience_gets_it() -> None:
    store = Store()
    store.refusal = Exhausted("Too much at once.", reason="TOO_MUCH", retry_after=0.7)
    async with mesh(store=store) as far, sending(far.address) as line:
        line.put(1)
        await eventually(lambda: store.refused == 1, 5, "it was refused")
        loop = asyncio.get_running_loop()
        asked = loop.time()
        await eventually(lambda: store.refused == 2, 5, "it came again")
        assert loop.time() - asked > 0.5
        store.refusal = None
        assert await line.uplink.flushed(10)


async def test_a_governator_that_takes_and_never_acknowledges_is_left_and_tried_again() -> None:
    store = Store()
    store.acknowledges = False
    async with mesh(store=store) as far:
        with capture_logs() as told:
            async with sending(far.address, clock=Hurried()) as line:
                line.put(1)
                await eventually(lambda: len(store.first_of_stream) == 2, 10, "a second stream was opened")
                store.acknowledges = True
                assert await line.uplink.flushed(10)
                assert line.uplink.progress.sent_again >= 1
    assert "does not acknowledge" in told[0]["error"]


async def test_an_acknowledgement_of_another_life_is_not_taken_for_ours() -> None:
    store = Store()
    store.incarnation_shift = -1
    async with mesh(store=store) as far, sending(far.address) as line:
        line.put(1)
        await eventually(lambda: store.batches, 5, "it arrived")
        assert not await line.uplink.flushed(0.3)


async def test_samples_that_the_governator_leaves_out_are_counted_and_hold_nothing_up() -> None:
    async with mesh() as far, sending(far.address) as line:
        far.store.leaves_out = 3
        line.put(1)
        assert await line.uplink.flushed(10)
        assert line.uplink.progress.refused == 3
        far.store.leaves_out = 0
        line.put(2)
        assert await line.uplink.flushed(10)
        # So the bill says that they are missing.
        assert far.store.batches[7, 2].dropped_samples == 3


async def test_a_batch_the_governator_never_takes_is_dropped_counted_and_holds_nothing_up() -> None:
    async with mesh() as far, sending(far.address) as line:
        far.store.impossible = {2}
        line.put(*range(1201))
        assert await line.uplink.flushed(20)
        assert numbers(far.store) == [*range(500), *range(1000, 1201)]
        line.put(7)
        assert await line.uplink.flushed(10)
        assert far.store.batches[7, 4].dropped_samples == 500
        assert line.uplink.progress.refused == 500
