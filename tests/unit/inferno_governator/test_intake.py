from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from inferno_governator.intake import Intake
from inferno_governator.metrics import Metrics
from inferno_governator.store.ingest import Stored
from inferno_governator.telemetry_stream import WINDOW, Acknowledgement, TelemetryStream
from inferno_governator.usage import Batch, StreamKey
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Broken, Exhausted, InvalidInput, Unavailable


@dataclass
class FakeStore:
    """Keeps batches in memory; refuses what it is told to."""

    groups: list[list[int]] = field(default_factory=list)
    poison: set[int] = field(default_factory=set)
    down: bool = False
    held: asyncio.Event | None = None

    async def commit(self, batches: Sequence[Batch]) -> list[Stored]:
        if self.held is not None:
            await self.held.wait()
        if self.down:
            raise Unavailable("locked", reason="DATABASE_UNAVAILABLE", retry_after=1)
        if self.poison & {batch.sequence for batch in batches}:
            raise Broken("poison", reason="DATABASE_STATEMENT")
        self.groups.append([batch.sequence for batch in batches])
        return [Stored(new=True, missing_batches=0, dropped_samples=0) for _ in batches]

    @property
    def stored(self) -> list[int]:
        return [sequence for group in self.groups for sequence in group]


def batch(sequence: int, samples: int = 100, node: str = "n") -> Batch:
    return Batch(StreamKey(node, 1), sequence, {}, {}, samples)


@dataclass
class World:
    store: FakeStore = field(default_factory=FakeStore)
    metrics: Metrics = field(default_factory=Metrics)
    capacity: int = 1000

    def __post_init__(self) -> None:
        self.intake = Intake(self.store.commit, self.capacity, ManualClock(), self.metrics)

    def submit(self, stream: TelemetryStream, *batches: Batch) -> None:
        for each in batches:
            self.intake.submit(each, stream)
            stream.submitted()

    async def settle(self) -> None:
        self.intake.close()
        await self.intake.run()

    def outcome(self, outcome: str) -> float:
        value = self.metrics.registry.get_sample_value("inferno_telemetry_batches_total", {"outcome": outcome})
        return value or 0


async def test_what_waits_is_committed_in_one_group_and_acknowledged_by_its_last_sequence() -> None:
    world, stream = World(), TelemetryStream()
    world.submit(stream, batch(1), batch(2), batch(3))
    stream.end()
    await world.settle()
    assert world.store.groups == [[1, 2, 3]]
    assert await stream.acknowledgements() == {StreamKey("n", 1): Acknowledgement(3)}
    assert await stream.acknowledgements() is None
    assert world.metrics.registry.get_sample_value("inferno_telemetry_queued_samples") == 0
    assert world.metrics.registry.get_sample_value("inferno_telemetry_samples_total") == 300


async def test_nothing_is_acknowledged_before_it_is_committed() -> None:
    world, stream = World(FakeStore(held=asyncio.Event())), TelemetryStream()
    world.submit(stream, batch(1))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.intake.run())
        waiting = tasks.create_task(stream.acknowledgements())
        await ManualClock.settle()
        assert not waiting.done()
        assert world.store.held is not None
        world.store.held.set()
        assert await waiting == {StreamKey("n", 1): Acknowledgement(1)}
        world.intake.close()


async def test_a_full_queue_tells_the_sender_to_slow_down_and_when_to_return() -> None:
    world, stream = World(capacity=250), TelemetryStream()
    world.submit(stream, batch(1), batch(2))
    with pytest.raises(Exhausted) as refused:
        world.intake.submit(batch(3), stream)
    assert refused.value.retry_after == 1.0
    assert "200 samples" in str(refused.value)
    await world.settle()
    assert world.store.stored == [1, 2]
    assert world.outcome("refused") == 1


async def test_an_empty_queue_takes_a_batch_whatever_its_size() -> None:
    world, stream = World(capacity=10), TelemetryStream()
    world.submit(stream, batch(1, samples=500))
    await world.settle()
    assert world.store.stored == [1]


async def test_after_a_failed_commit_nothing_more_of_that_stream_is_stored_until_it_comes_again() -> None:
    world, stream = World(FakeStore(held=asyncio.Event(), down=True), capacity=10_000_000), TelemetryStream()
    # The first group is being committed when the second batch, for the next group, comes in.
    world.submit(stream, batch(1))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.intake.run())
        await ManualClock.settle()
        world.submit(stream, batch(2))
        assert world.store.held is not None
        world.store.held.set()
        with pytest.raises(Unavailable, match="locked"):
            await stream.acknowledgements()
        world.store.down = False
        again = TelemetryStream()
        world.submit(again, batch(1), batch(2))
        assert await again.acknowledgements() == {StreamKey("n", 1): Acknowledgement(2)}
        world.intake.close()
    assert world.store.stored == [1, 2]
    assert world.metrics.registry.get_sample_value("inferno_telemetry_queued_samples") == 0


async def test_one_batch_that_the_database_cannot_take_does_not_hold_up_the_others() -> None:
    world = World(FakeStore(poison={13}))
    streams = {sequence: TelemetryStream() for sequence in (12, 13, 14)}
    for sequence, stream in streams.items():
        world.submit(stream, batch(sequence, node=f"n{sequence}"))
    world.submit(streams[13], batch(15, node="n13"))
    await world.settle()
    assert world.store.stored == [12, 14]
    assert await streams[14].acknowledgements() == {StreamKey("n14", 1): Acknowledgement(14)}
    with pytest.raises(Broken, match="poison"):
        await streams[13].acknowledgements()


async def test_an_error_in_the_stream_is_told_after_what_came_before_it_is_acknowledged() -> None:
    world, stream = World(), TelemetryStream()
    world.submit(stream, batch(1))
    stream.fail(InvalidInput("bad", reason="BAD_TELEMETRY"))
    stream.fail(InvalidInput("worse", reason="BAD_TELEMETRY"))
    await world.settle()
    assert await stream.acknowledgements() == {StreamKey("n", 1): Acknowledgement(1)}
    with pytest.raises(InvalidInput, match="bad"):
        await stream.acknowledgements()


async def test_a_stream_with_too_much_unacknowledged_waits_for_room() -> None:
    world, stream = World(capacity=100 * WINDOW), TelemetryStream()
    world.submit(stream, *(batch(sequence) for sequence in range(1, WINDOW + 1)))
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(stream.room())
        await ManualClock.settle()
        assert not waiting.done()
        await world.settle()
        await waiting
        stream.fail(Unavailable("stopping", reason="STOPPING"))
        never = tasks.create_task(stream.room())
        await ManualClock.settle()
        assert not never.done()
        never.cancel()


async def test_samples_left_out_are_counted_once_and_told_of_in_the_acknowledgement() -> None:
    world, stream = World(), TelemetryStream()
    odd = [
        Batch(StreamKey("n", 1), n, {}, {}, 9, refused={"time": n, "value": 1}, refusal=f"samples[{n}].time: wrong")
        for n in (1, 2)
    ]
    world.submit(stream, *odd)
    stream.end()
    await world.settle()
    assert await stream.acknowledgements() == {StreamKey("n", 1): Acknowledgement(2, 5, "samples[1].time: wrong")}
    counted = {
        reason: world.metrics.registry.get_sample_value("inferno_telemetry_refused_samples_total", {"reason": reason})
        for reason in ("time", "value")
    }
    assert counted == {"time": 3, "value": 2}
