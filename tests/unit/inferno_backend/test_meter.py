"""Load is read from Triton's counters, and only a fresh one is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from inferno_backend.meter import Meter, Reading, load_between
from inferno_backend.node import ModelLoad
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_backend.triton.streams import Stream, Streams
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Unavailable


def test_a_models_versions_are_added_up_and_latency_is_of_the_window() -> None:
    earlier = Reading(0, 0, {("m", "1"): Counters(success=10, request_micros=999), ("m", "2"): Counters()})
    now = Reading(
        1,
        1,
        {
            ("m", "1"): Counters(success=12, failure=1, request_micros=2999, compute_micros=1000, pending=3),
            ("m", "2"): Counters(success=5, request_micros=70, compute_micros=7, pending=1),
            ("idle", "1"): Counters(success=4),
        },
    )
    assert load_between(earlier, now) == (
        ModelLoad("idle", 0, 4, 0, 0),
        ModelLoad("m", queued=4, completed=17, failed=1, latency_micros=295, service_micros=143, executing=2.0),
    )


def load_of(recent: Counters, streams: tuple[Streams, ...] | None = None, seconds: float = 2.0) -> ModelLoad:
    """The load after a window in which a model did this and has these streams."""
    seen = {} if streams is None else {("m", "1"): streams}
    (load,) = load_between(Reading(0, 0, {("m", "1"): Counters()}), Reading(seconds, 0, {("m", "1"): recent}, seen))
    return load


def test_what_executes_is_its_time_shared_out_over_the_window_and_one_when_others_wait() -> None:
    assert load_of(Counters(success=6, request_micros=9_000_000, compute_micros=6_000_000)).executing == 3.0
    assert load_of(Counters(pending=5)).executing == 1.0
    assert load_of(Counters(success=60, compute_micros=6_000_000, pending=5)).executing == 3.0
    assert load_of(Counters()).executing == 0.0
    assert load_of(Counters(success=6, compute_micros=6_000_000), seconds=0).executing == 0.0


def test_streams_that_can_be_seen_are_counted() -> None:
    done = Counters(success=6, compute_micros=6_000_000)
    assert load_of(done, (Streams((Stream(0),), crowd=2), Streams((Stream(0, 1.0),)))).executing == 4.0
    assert load_of(done, (Streams(),)).executing == 0.0


class Triton:
    """A source of counters that can be away."""

    def __init__(self) -> None:
        self.success = 0
        self.away = False
        self.slow = False
        self.micros = 0

    async def counters(self) -> Mapping[Key, Counters]:
        if self.away:
            raise Unavailable("gone", reason="GONE")
        self.success += 10
        self.micros += 10_000 if self.slow else 1000
        return {("m", "1"): Counters(success=self.success, request_micros=self.micros)}


async def test_there_is_no_load_before_a_reading_and_none_when_it_is_old() -> None:
    clock, triton = ManualClock(), Triton()
    meter = Meter(triton.counters, clock)
    assert meter.load() is None
    running = asyncio.create_task(meter.run())
    await clock.settle()
    await clock.advance(2)
    assert meter.load() == (ModelLoad("m", 0, 50, 0, 100),)
    triton.away = True
    await clock.advance(1)
    assert meter.load() is not None
    await clock.advance(1)
    assert meter.load() is None
    triton.away = False
    await clock.advance(0.5)
    assert meter.load() is not None
    running.cancel()


async def test_the_latency_is_of_the_last_second_alone() -> None:
    clock, triton = ManualClock(), Triton()
    meter = Meter(triton.counters, clock)
    for _ in range(9):
        triton.slow = not triton.slow
        await meter.read()
        await clock.advance(0.25)
    triton.slow = True
    for _ in range(4):
        await meter.read()
        await clock.advance(0.25)
    assert meter.load() == (ModelLoad("m", 0, 130, 0, 1000),)
