"""Samples are what happened between two readings, without gaps and never negative."""

from __future__ import annotations

import asyncio

from inferno.governance.v1 import telemetry_pb2
from inferno_backend.inventory import Use
from inferno_backend.meter import Reading
from inferno_backend.node import Gpu
from inferno_backend.sampler import Sampler, samples
from inferno_backend.triton.metrics_page import Counters
from inferno_runtime.latest import Latest
from inferno_runtime.mailbox import Mailbox

KEY = ("m", "1")


class Device:
    """A device that is always half busy."""

    def gpus(self) -> tuple[Gpu, ...]:
        return ()

    def uses(self) -> tuple[Use, ...]:
        return (Use("GPU-1", "gpu", 0.5, 10, 80, 1.5),)


def test_a_sample_holds_the_work_of_the_window() -> None:
    earlier = Reading(10, 1000, {KEY: Counters(1, 2, 3, 4, 5, 6, 7, 8)})
    now = Reading(11.5, 1001.5, {KEY: Counters(11, 22, 33, 44, 55, 66, 77, 9)})
    model, device = samples(earlier, now, Device().uses())
    assert model.time.ToMilliseconds() == 1_001_500
    assert model.window.ToMilliseconds() == 1500
    assert model.model == telemetry_pb2.ModelSample(
        model="m",
        version="1",
        requests=10,
        errors=20,
        inferences=30,
        executions=40,
        request_micros=50,
        queue_micros=60,
        compute_micros=70,
        pending=9,
    )
    assert device.device == telemetry_pb2.DeviceSample(
        device_id="GPU-1",
        kind="gpu",
        utilization=0.5,
        memory_used_bytes=10,
        memory_total_bytes=80,
        energy_joules=1.5,
    )


def test_a_restarted_server_counts_from_zero_and_a_new_model_from_its_beginning() -> None:
    earlier = Reading(0, 0, {KEY: Counters(success=50)})
    now = Reading(1, 1, {KEY: Counters(success=3), ("new", "1"): Counters(success=2)})
    assert [one.model.requests for one in samples(earlier, now, ())] == [3, 2]


async def test_windows_follow_one_another_over_a_pause_without_a_gap() -> None:
    readings: Latest[Reading | None] = Latest(None)
    mailbox: Mailbox[telemetry_pb2.Sample] = Mailbox(100)
    running = asyncio.create_task(Sampler(readings, (), mailbox, 1.0).run())
    for at, success in ((0.0, 5), (0.5, 6), (1.0, 7), (1.5, 8), (6.0, 9)):
        readings.set(Reading(at, 1000 + at, {KEY: Counters(success=success)}))
        await asyncio.sleep(0)
    taken = await mailbox.take(10, 0)
    running.cancel()
    assert [one.model.requests for one in taken] == [2, 2]
    assert [one.window.ToMilliseconds() for one in taken] == [1000, 5000]


def test_a_reading_taken_twice_makes_no_second_sample() -> None:
    mailbox: Mailbox[telemetry_pb2.Sample] = Mailbox(100)
    sampler = Sampler(Latest(None), (Device(),), mailbox, 1.0)
    reading = Reading(1, 1, {KEY: Counters(success=5)})
    sampler.take(reading)
    sampler.take(reading)
    assert len(mailbox) == 0
