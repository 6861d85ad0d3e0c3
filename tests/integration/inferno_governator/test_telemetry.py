"""One suite for both databases: what is acknowledged is stored, once, whatever happens in between."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import pytest

from inferno.governance.v1.telemetry_pb2 import NodeFacts
from inferno_runtime.errors import Exhausted, InvalidInput, Unavailable
from tests.integration.inferno_governator.governators import governator, governator_process
from tests.integration.inferno_governator.nodes import FACTS, Client, batch
from tests.waiting import eventually


async def test_what_nodes_send_is_acknowledged_and_billed(database_url: str, socket_dir: Path) -> None:
    minute = (int(time.time()) // 60 - 5) * 60
    async with governator(database_url, socket_dir) as client:
        for node in ("node-1", "node-2"):
            await client.store(
                batch(n, node, at=minute + n, requests=2, facts=FACTS if n == 1 else None) for n in range(1, 11)
            )
        report = await client.report(minute, minute + 60)
    lines = {(line.node_id, line.model): line for line in report.lines}
    assert list(lines) == [("node-1", ""), ("node-1", "m"), ("node-2", ""), ("node-2", "m")]
    model, idle = lines["node-1", "m"], lines["node-1", ""]
    assert (model.requests, model.errors, model.inferences) == (20, 0, 40)
    assert (model.mean_latency_micros, model.mean_queue_micros) == (3_000, 1_000)
    assert (model.utilization, idle.utilization) == (0.5, 0.5)
    assert (model.measured_seconds, idle.measured_seconds) == (10, 10)
    # Ten seconds at 1,000 micro-dollars a second, half of it computed.
    assert (model.cost_micros, idle.cost_micros) == (5_000, 5_000)
    assert report.total_cost_micros == 20_000
    assert (report.start.seconds, report.end.seconds, report.dropped_samples) == (minute, minute + 60, 0)


async def test_a_price_that_changes_holds_from_its_minute_on(database_url: str, socket_dir: Path) -> None:
    minute = (int(time.time()) // 60 - 5) * 60
    dearer = NodeFacts(price_micros_per_hour=7_200_000)
    async with governator(database_url, socket_dir) as client:
        await client.store([batch(1, at=minute + 1, facts=FACTS), batch(2, at=minute + 2, facts=FACTS)])
        await client.store([batch(3, at=minute + 61, facts=dearer), batch(4, at=minute + 62)])
        # The same price said again, and one that was said late, leave later minutes as they are.
        await client.store([batch(5, at=minute + 121, facts=dearer), batch(6, at=minute - 1, facts=FACTS)])
        costs = [
            (await client.report(start, start + 60)).total_cost_micros for start in range(minute - 60, minute + 180, 60)
        ]
    # The seconds between two batches of one life are paid for, too.
    assert costs == [1_000, 60_000, 120_000, 2_000]


async def test_a_period_without_telemetry_is_an_empty_bill(database_url: str, socket_dir: Path) -> None:
    async with governator(database_url, socket_dir) as client:
        report = await client.report()
    assert (list(report.lines), report.total_cost_micros) == ([], 0)
    assert report.end.seconds - report.start.seconds == 3600
    assert report.end.seconds >= math.floor(time.time())


async def test_batches_sent_again_after_a_reconnect_change_nothing(database_url: str, socket_dir: Path) -> None:
    now = time.time()
    batches = [batch(n, at=now) for n in range(1, 6)]
    async with governator(database_url, socket_dir) as client:
        await client.store(batches[:3])
        await client.store(batches)
        async with client.stream() as stream:
            await stream.send(batches[0])
            assert (await stream.receive()).acknowledged_sequence == 1
        assert await client.requests() == 5
    async with governator(database_url, socket_dir) as client:
        await client.store(batches)
        assert await client.requests() == 5


async def test_another_incarnation_counts_from_one_again(database_url: str, socket_dir: Path) -> None:
    async with governator(database_url, socket_dir) as client:
        await client.store([batch(1, incarnation=1), batch(2, incarnation=1)])
        await client.store([batch(1, incarnation=2**63 - 1)])
        assert await client.requests() == 3


async def test_what_was_dropped_before_it_arrived_is_told_once(database_url: str, socket_dir: Path) -> None:
    async with governator(database_url, socket_dir) as client:
        await client.store([batch(1), batch(5, dropped=40), batch(6, dropped=40), batch(7, dropped=45)])
        now = time.time()
        assert (await client.report(now - 300, now + 60)).dropped_samples == 45
        assert (await client.report(now - 7200, now - 3600)).dropped_samples == 0


async def test_many_streams_at_once_are_all_stored(database_url: str, socket_dir: Path) -> None:
    async with governator(database_url, socket_dir) as client:
        async with asyncio.TaskGroup() as tasks:
            for node in range(20):
                tasks.create_task(client.store([batch(n, f"node-{node}", facts=FACTS) for n in range(1, 101)]))
        assert await client.requests() == 2000


async def test_one_stream_may_carry_several_nodes(database_url: str, socket_dir: Path) -> None:
    async with governator(database_url, socket_dir) as client, client.stream() as stream:
        await stream.send(batch(1, "a"), batch(1, "b"))
        await stream.done()
        assert await stream.rest() == [1, 1]
        assert await client.requests() == 2


async def test_a_batch_that_cannot_be_placed_ends_its_stream_after_what_came_before_is_acknowledged(
    database_url: str, socket_dir: Path
) -> None:
    bad = batch(2)
    bad.node_id = "a/b"
    async with governator(database_url, socket_dir) as client, client.stream() as stream:
        await stream.send(batch(1), bad, batch(3))
        assert (await stream.receive()).acknowledged_sequence == 1
        with pytest.raises(InvalidInput) as refused:
            await stream.rest()
        assert refused.value.metadata["field"] == "node_id"
        # The sender drops that batch and goes on: the rest is not held up.
        await client.store([batch(3)])
        assert await client.requests() == 2


async def test_impossible_samples_are_named_in_the_acknowledgement_and_everything_else_is_stored(
    database_url: str, socket_dir: Path
) -> None:
    far, absurd, odd = batch(1), batch(2), batch(3)
    far.samples[0].time.seconds += 10 * 86_400
    absurd.samples[0].model.requests = 2**63
    odd.samples[1].device.utilization = 7
    async with governator(database_url, socket_dir) as client, client.stream() as stream:
        await stream.send(far, absurd, odd, batch(4))
        told = [await stream.receive()]
        while told[-1].acknowledged_sequence < 4:
            told.append(await stream.receive())
        assert sum(each.refused_samples for each in told) == 3
        assert told[0].refusal.startswith("samples[0].time: ")
        # Of the third batch only the device is left out.
        assert await client.requests() == 2


async def test_a_flood_is_told_to_slow_down_and_nothing_acknowledged_is_lost(
    database_url: str, socket_dir: Path
) -> None:
    slowed: list[float | None] = []

    async def insist(client: Client, node: str) -> None:
        wide = batch(1, node)
        wide.samples.extend([wide.samples[0]] * 298)
        while True:
            async with client.stream() as stream:
                await stream.send(wide)
                try:
                    await stream.acknowledged(1)
                    return
                except Exhausted as slow_down:
                    slowed.append(slow_down.retry_after)

    async with governator(database_url, socket_dir, queue_samples=500) as client:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for node in range(20):
                tasks.create_task(insist(client, f"node-{node}"))
        assert set(slowed) == {1.0}
        assert await client.requests() == 20 * 299


async def test_a_stream_that_the_client_cancels_is_stored_as_far_as_it_arrived(
    database_url: str, socket_dir: Path
) -> None:
    async with governator(database_url, socket_dir) as client:
        async with client.stream() as stream:
            await stream.send(batch(1))
            await stream.acknowledged(1)
        await client.store([batch(2)])
        assert await client.requests() == 2


async def test_at_the_end_everything_accepted_is_acknowledged_and_the_stream_says_why_it_ends(
    database_url: str, socket_dir: Path
) -> None:
    async with governator(database_url, socket_dir) as client, client.stream() as stream:
        await stream.send(batch(1), batch(2))
        await stream.acknowledged(2)
        client.stop()
        with pytest.raises(Unavailable) as ended:
            await stream.rest()
        assert ended.value.reason == "STOPPING"
    async with governator(database_url, socket_dir) as client:
        assert await client.requests() == 2


async def test_everything_acknowledged_survives_kill_9_and_nothing_is_stored_twice(database_url: str) -> None:
    now = time.time()
    batches = [batch(n, at=now) for n in range(1, 100_000)]
    acknowledged = 0
    async with governator_process(database_url) as victim, victim.client.stream() as stream:

        async def flood() -> None:
            for each in batches:
                await stream.send(each)

        async def follow() -> None:
            nonlocal acknowledged
            while True:
                acknowledged = (await stream.receive()).acknowledged_sequence

        async def kill() -> None:
            await eventually(lambda: acknowledged > 200, 20, "some batches are acknowledged")
            await victim.kill()

        async def all_at_once() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(flood())
                tasks.create_task(follow())
                tasks.create_task(kill())

        with pytest.raises(ExceptionGroup):
            await all_at_once()
    last = acknowledged + 500
    async with governator_process(database_url) as survivor:
        assert acknowledged <= await survivor.client.requests() <= len(batches)
        await survivor.client.store(batches[acknowledged:last])
        stored = await survivor.client.requests()
        # What was committed but not acknowledged came again and counted once; beyond it nothing is missing.
        await survivor.client.store(batches[: max(last, stored)])
        assert await survivor.client.requests() == max(last, stored)
