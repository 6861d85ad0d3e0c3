"""Samples are what happened between two readings, without gaps and never negative."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from inferno.governance.v1 import telemetry_pb2
from inferno_backend.hardware.use import DeviceReading, Use
from inferno_backend.meter import Reading
from inferno_backend.sampler import Sampler, decoded, of_devices, of_models
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_runtime.latest import Latest
from inferno_runtime.mailbox import Mailbox

KEY = ("m", "1")


GPU = Use("GPU-1", "gpu", 0.5, 10, 80, energy_joules=101.5)


def test_a_sample_holds_the_work_of_the_window() -> None:
    work = {KEY: Counters(10, 20, 30, 40, 50, 60, 70, 80, 90, 9)}
    models = of_models(1001.5, 1.5, work, {KEY: Counters(pending=3)}, {})
    devices = of_devices(1001.5, 1.5, (GPU,), (replace(GPU, energy_joules=100.0),))
    model, device = decoded([*models, *devices])
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
        input_tokens=80,
        output_tokens=90,
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


def sampled(*readings: Reading) -> list[telemetry_pb2.Sample]:
    mailbox: Mailbox[bytes] = Mailbox(100)
    sampler = Sampler(Latest(None), Latest(None), mailbox, 1.0)
    for reading in readings:
        sampler.take(reading)
    sampler.finish()
    taken = list(decoded(asyncio.run(mailbox.take(100, 0)) if len(mailbox) else []))
    assert list(sampler.newest()) == taken[len(taken) - len(sampler.newest()) :]
    return taken


def test_a_restarted_server_counts_from_zero_and_a_new_model_from_its_beginning() -> None:
    found = sampled(
        Reading(0, 0, {KEY: Counters(success=50)}),
        Reading(0.4, 0.4, {KEY: Counters(success=52)}),
        Reading(0.8, 0.8, {KEY: Counters(success=0)}),
        Reading(1.2, 1.2, {KEY: Counters(success=60, pending=4), ("new", "1"): Counters(success=2)}),
    )
    assert [(one.model.model, one.model.requests, one.model.pending) for one in found] == [("m", 62, 4), ("new", 2, 0)]


def test_a_version_that_is_unloaded_and_loaded_again_within_a_window_keeps_what_it_did() -> None:
    other = {("other", "1"): Counters()}
    found = sampled(
        Reading(0, 0, {KEY: Counters(success=5), **other}),
        Reading(0.2, 0.2, {KEY: Counters(success=8, pending=1), **other}),
        Reading(0.4, 0.4, other),
        Reading(0.6, 0.6, {KEY: Counters(success=4, pending=2), **other}),
    )
    assert {one.model.model: (one.model.requests, one.model.pending) for one in found} == {"m": (7, 2), "other": (0, 0)}
    gone = sampled(
        Reading(0, 0, {KEY: Counters(5)}), Reading(0.2, 0.2, {KEY: Counters(8, pending=1)}), Reading(0.4, 0.4)
    )
    assert [(one.model.requests, one.model.pending) for one in gone] == [(3, 0)]


def test_a_model_whose_processes_are_replaced_counts_its_tokens_anew_and_nothing_else() -> None:
    found = sampled(
        Reading(0, 0, {KEY: Counters(success=5, input_tokens=100, output_tokens=1000)}),
        Reading(0.4, 0.4, {KEY: Counters(success=6, input_tokens=130, output_tokens=1500)}),
        Reading(0.8, 0.8, {KEY: Counters(success=6)}),
        Reading(1.2, 1.2, {KEY: Counters(success=7, input_tokens=7, output_tokens=40, pending=2)}),
    )
    assert [(each.model.requests, each.model.input_tokens, each.model.output_tokens) for each in found] == [
        (2, 37, 540)
    ]


_counters = st.builds(
    Counters,
    success=st.integers(0, 9),
    failure=st.integers(0, 9),
    input_tokens=st.integers(0, 9),
    output_tokens=st.integers(0, 9),
)


@given(
    readings=st.lists(
        st.dictionaries(st.sampled_from([KEY, ("n", "1")]), _counters),
        min_size=2,
        max_size=8,
    ),
    window=st.sampled_from([0.5, 1.0, 10.0]),
)
def test_windows_add_up_to_what_each_reading_added(readings: list[dict[Key, Counters]], window: float) -> None:
    mailbox: Mailbox[bytes] = Mailbox(1000)
    sampler = Sampler(Latest(None), Latest(None), mailbox, window)
    for number, counters in enumerate(readings):
        sampler.take(Reading(number / 2, 1000 + number / 2, counters))
    sampler.finish()
    found = decoded(asyncio.run(mailbox.take(1000, 0)) if len(mailbox) else [])
    for model, version in (KEY, ("n", "1")):
        expected = Counters()
        for before, now in pairwise(readings):
            if (model, version) in now:
                earlier = before.get((model, version))
                done = now[model, version]
                expected += done if earlier is None else done.since(earlier)
        mine = [one.model for one in found if one.model.model == model]
        assert (sum(one.requests for one in mine), sum(one.errors for one in mine)) == (
            expected.success,
            expected.failure,
        )
        assert (sum(one.input_tokens for one in mine), sum(one.output_tokens for one in mine)) == (
            expected.input_tokens,
            expected.output_tokens,
        )


def test_the_last_window_may_be_short() -> None:
    (one,) = sampled(Reading(0, 0, {KEY: Counters()}), Reading(0.3, 0.3, {KEY: Counters(success=1)}))
    assert (one.model.requests, one.window.ToMilliseconds()) == (1, 300)


def test_nothing_read_is_nothing_sampled() -> None:
    assert sampled() == []


async def test_windows_follow_one_another_over_a_pause_without_a_gap() -> None:
    readings: Latest[Reading | None] = Latest(None)
    mailbox: Mailbox[bytes] = Mailbox(100)
    running = asyncio.create_task(Sampler(readings, Latest(None), mailbox, 1.0).run())
    for at, success in ((0.0, 5), (0.5, 6), (1.0, 7), (1.5, 8), (6.0, 9)):
        readings.set(Reading(at, 1000 + at, {KEY: Counters(success=success)}))
        await asyncio.sleep(0)
    taken = decoded(await mailbox.take(10, 0))
    running.cancel()
    assert [one.model.requests for one in taken] == [2, 2]
    assert [one.window.ToMilliseconds() for one in taken] == [1000, 5000]


def test_a_reading_taken_twice_makes_no_second_sample() -> None:
    mailbox: Mailbox[bytes] = Mailbox(100)
    devices: Latest[DeviceReading | None] = Latest(DeviceReading(1, 1, (GPU,)))
    sampler = Sampler(Latest(None), devices, mailbox, 1.0)
    reading = Reading(1, 1, {KEY: Counters(success=5)})
    sampler.take(reading)
    sampler.take(reading)
    sampler.finish()
    assert len(mailbox) == 0


def test_a_window_tells_the_devices_as_they_were_last_seen_unless_that_is_long_ago() -> None:
    mailbox: Mailbox[bytes] = Mailbox(100)
    devices: Latest[DeviceReading | None] = Latest(None)
    sampler = Sampler(Latest(None), devices, mailbox, 1.0)
    sampler.take(Reading(0, 0))
    for at, seen, joules in ((1, 0.5, 10.0), (2, 1.5, 30.0), (8, 1.5, 30.0), (9, 8.5, 100.0)):
        devices.set(DeviceReading(seen, seen, (replace(GPU, energy_joules=joules),)))
        sampler.take(Reading(at, at))
    told = decoded(asyncio.run(mailbox.take(100, 0)))
    # Nothing for the window in which the driver hung; its energy shows in the next.
    assert [(one.time.seconds, one.device.energy_joules) for one in told] == [(1, 0.0), (2, 20.0), (9, 70.0)]


def test_a_device_that_can_do_no_work_says_why_for_as_long() -> None:
    mailbox: Mailbox[bytes] = Mailbox(100)
    devices: Latest[DeviceReading | None] = Latest(None)
    faults: Latest[Mapping[str, str]] = Latest({})
    sampler = Sampler(Latest(None), devices, mailbox, 1.0, faults)
    sampler.take(Reading(0, 0))
    for at, said in ((1, {}), (2, {GPU.device_id: "It is lost."}), (3, {"another": "It is lost."})):
        devices.set(DeviceReading(at, at, (GPU,)))
        faults.set(said)
        sampler.take(Reading(at, at))
    told = decoded(asyncio.run(mailbox.take(100, 0)))
    assert [one.device.fault for one in told] == ["", "It is lost.", ""]
