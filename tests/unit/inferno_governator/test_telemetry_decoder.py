from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1.telemetry_pb2 import DeviceSample, ModelSample, NodeFacts, Sample, TelemetryBatch
from inferno_governator.telemetry_decoder import decode
from inferno_governator.usage import Facts, SeriesKey, StreamKey
from inferno_runtime.errors import InvalidInput

NOW = 1_760_000_000


def sample(at: int = NOW, seconds: int = 1, **measurement: Any) -> Sample:
    return Sample(time=Timestamp(seconds=at), window=Duration(seconds=seconds), **measurement)


def model(**fields: Any) -> Sample:
    return sample(model=ModelSample(**{"model": "m", "version": "1", **fields}))


def device(**fields: Any) -> Sample:
    return sample(device=DeviceSample(**{"device_id": "cpu", "kind": "cpu", **fields}))


def batch(*samples: Sample, **fields: Any) -> TelemetryBatch:
    return TelemetryBatch(**{"node_id": "n", "incarnation": 7, "sequence": 3, "samples": samples, **fields})


def test_a_batch_becomes_points_by_series() -> None:
    decoded = decode(
        batch(
            model(requests=1, errors=2, inferences=3, executions=4, request_micros=5, queue_micros=6),
            model(compute_micros=7, pending=8, input_tokens=9, output_tokens=10),
            device(utilization=0.25, memory_used_bytes=1, memory_total_bytes=2, energy_joules=1.5),
            device(),
            sample(at=NOW + 9, seconds=3, device=DeviceSample(device_id="GPU-1", kind="gpu")),
            facts=NodeFacts(price_micros_per_hour=5, region="r", device="d", gpu_count=2, instance_type="t", spot=True),
            dropped_samples=4,
        ),
        NOW * 1_000_000,
    )
    end = NOW * 1_000_000
    assert decoded.stream == StreamKey("n", 7)
    assert decoded.models == {
        SeriesKey("model", "m", "1"): [(end, 1_000_000, 1, 2, 3, 4, 5, 6, 0, 0), (end, 1_000_000, *[0] * 6, 7, 8)]
    }
    assert decoded.tokens == {SeriesKey("model", "m", "1"): [(end, 1_000_000, 9, 10)]}
    assert decoded.devices[SeriesKey("cpu", "cpu", "")] == [
        (end, 1_000_000, 250_000, 1, 2, 1500),
        (end, 1_000_000, 0, 0, 0, 0),
    ]
    assert (decoded.sample_count, decoded.dropped_samples, decoded.sequence) == (5, 4, 3)
    assert decoded.facts == Facts(5, "r", "d", 2, "t", spot=True, reported=5, origin="reported")
    assert (decoded.first_micros, decoded.last_micros) == (end - 1_000_000, end + 9_000_000)


def test_a_use_that_a_device_does_not_tell_is_unknown_and_not_zero() -> None:
    [points] = decode(batch(device(utilization_unknown=True)), NOW * 1_000_000).devices.values()
    assert points[0][2] == -1


def test_the_state_of_a_device_is_taken_to_hold_for_its_window_and_its_power_stands_in_for_energy() -> None:
    told = {
        "power_watts": 312.5,
        "temperature_celsius": 61.4,
        "sm_clock_mhz": 1500,
        "ecc_corrected": 3,
        "xids": [13, 13],
    }
    slowed: list[dict[str, Any]] = [
        {"slowdowns": ["sw_power_cap"]},
        {"slowdowns": ["hw_slowdown", "hw_thermal_slowdown"]},
    ]
    every = [DeviceSample(**{"device_id": "GPU-1", "kind": "gpu", **told, **each}) for each in ({}, *slowed)]
    every += [DeviceSample(device_id="GPU-1", kind="gpu"), DeviceSample(device_id="GPU-2", kind="gpu")]
    every[1].energy_joules = 5
    decoded = decode(batch(*(sample(seconds=2, device=each) for each in every)), NOW * 1_000_000)
    when, known = (NOW * 1_000_000, 2_000_000), (2000, 61 * 2000, 2000, 1500 * 2000)
    after = (2, 312_500, 61, 3, -1)
    assert decoded.states == {
        SeriesKey("gpu", "GPU-1", ""): [
            (*when, *known, 0, 0, *after),
            (*when, *known, 2000, 0, *after),
            (*when, *known, 2000, 2000, *after),
        ]
    }
    energies = [point[-1] for point in decoded.devices[SeriesKey("gpu", "GPU-1", "")]]
    assert energies == [625_000, 5_000, 625_000, 0]


def test_a_batch_without_samples_stands_at_the_moment_it_arrived() -> None:
    decoded = decode(batch(), NOW * 1_000_000)
    assert (decoded.first_micros, decoded.last_micros, decoded.facts) == (NOW * 1_000_000, NOW * 1_000_000, None)


def test_the_newest_word_of_a_sick_device_is_kept_as_one_line() -> None:
    def gpu(at: int, fault: str) -> Sample:
        return sample(at=at, device=DeviceSample(device_id="GPU-1", kind="gpu", fault=fault))

    told = batch(gpu(NOW, "Xid\n79.\0"), gpu(NOW - 1, "Xid 48."), gpu(NOW, ""), device())
    assert decode(told, NOW * 1_000_000).faults == {"GPU-1": (NOW * 1_000_000, "Xid 79. ")}
    (_, long), *_ = decode(batch(gpu(NOW, "x" * 9999)), NOW * 1_000_000).faults.values()
    assert len(long) == 512


DAY = 86_400


@pytest.mark.parametrize(
    ("wire", "field"),
    [
        (batch(node_id=""), "node_id"),
        (batch(node_id="a/b"), "node_id"),
        (batch(node_id="n" * 129), "node_id"),
        (batch(incarnation=0), "incarnation"),
        (batch(incarnation=2**63), "incarnation"),
        (batch(sequence=0), "sequence"),
        (batch(sequence=2**63), "sequence"),
        (batch(dropped_samples=2**48 + 1), "dropped_samples"),
        (batch(*[model()] * 501), "samples"),
    ],
)
def test_a_batch_that_cannot_be_placed_is_refused_whole(wire: TelemetryBatch, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(wire, NOW * 1_000_000)
    assert refused.value.metadata["field"] == field
    assert f"Batch {wire.sequence} of node" in str(refused.value)
    assert f" {field}: " in str(refused.value)


@pytest.mark.parametrize(
    ("wire", "field", "reason"),
    [
        (batch(model(), sample()), "samples[1].measurement", "kind"),
        (batch(model(), sample(at=NOW + DAY + 1, model=ModelSample(model="m"))), "samples[1].time", "time"),
        (batch(sample(at=NOW - 31 * DAY - 1, model=ModelSample(model="m"))), "samples[0].time", "time"),
        (batch(sample(at=-(10**15), model=ModelSample(model="m"))), "samples[0].time", "time"),
        (batch(sample(seconds=0, model=ModelSample(model="m"))), "samples[0].window", "window"),
        (batch(sample(seconds=-1, model=ModelSample(model="m"))), "samples[0].window", "window"),
        (batch(sample(seconds=3601, model=ModelSample(model="m"))), "samples[0].window", "window"),
        (batch(model(model="")), "samples[0].model.model", "name"),
        (batch(model(model="a\0b")), "samples[0].model.model", "name"),
        (batch(model(version="1" * 257)), "samples[0].model.version", "name"),
        (batch(model(queue_micros=2**63)), "samples[0].model.queue_micros", "value"),
        (batch(model(pending=2**64 - 1)), "samples[0].model.pending", "value"),
        (batch(model(output_tokens=2**49)), "samples[0].model.output_tokens", "value"),
        (batch(device(kind="tpu")), "samples[0].device.kind", "kind"),
        (batch(device(device_id="")), "samples[0].device.device_id", "name"),
        (batch(device(utilization=-0.1)), "samples[0].device.utilization", "value"),
        (batch(device(utilization=1.1)), "samples[0].device.utilization", "value"),
        (batch(device(utilization=float("nan"))), "samples[0].device.utilization", "value"),
        (batch(device(energy_joules=-1)), "samples[0].device.energy_joules", "value"),
        (batch(device(energy_joules=float("nan"))), "samples[0].device.energy_joules", "value"),
        (batch(device(energy_joules=float("inf"))), "samples[0].device.energy_joules", "value"),
        (batch(device(power_watts=float("nan"))), "samples[0].device.power_watts", "value"),
        (batch(device(power_watts=-1)), "samples[0].device.power_watts", "value"),
        (batch(device(temperature_celsius=9_999)), "samples[0].device.temperature_celsius", "value"),
        (batch(device(sm_clock_mhz=2**31)), "samples[0].device.sm_clock_mhz", "value"),
        (batch(device(memory_used_bytes=2**60)), "samples[0].device.memory_total_bytes", "value"),
        (batch(facts=NodeFacts(price_micros_per_hour=-1)), "facts.price_micros_per_hour", "facts"),
        (batch(facts=NodeFacts(price_micros_per_hour=2**62)), "facts.price_micros_per_hour", "facts"),
        (batch(facts=NodeFacts(gpu_count=2**32 - 1)), "facts.gpu_count", "facts"),
        (batch(facts=NodeFacts(region="\n")), "facts.region", "facts"),
    ],
)
def test_a_sample_that_cannot_be_is_left_out_and_named_and_the_others_are_taken(
    wire: TelemetryBatch, field: str, reason: str
) -> None:
    wire.samples.add().CopyFrom(model(model="good", requests=5))
    decoded = decode(wire, NOW * 1_000_000)
    assert decoded.refused == {reason: 1}
    assert decoded.refusal.startswith(f"{field}: ")
    good = SeriesKey("model", "good", "1")
    assert decoded.models[good] == [(NOW * 1_000_000, 1_000_000, 5, *[0] * 7)]
    # Facts are no sample: those of the batch are all there.
    assert decoded.sample_count == len(wire.samples) - (reason != "facts")
    assert all(decoded.models.values()), "a series without points has no roll-up"
    assert all(decoded.devices.values())
    assert (decoded.first_micros, decoded.last_micros) == (NOW * 1_000_000 - 1_000_000, NOW * 1_000_000)
    assert decoded.facts is None


def test_a_batch_of_which_nothing_is_left_stands_at_the_moment_it_arrived() -> None:
    decoded = decode(batch(device(kind="tpu"), device(utilization=7)), NOW * 1_000_000)
    assert (decoded.sample_count, decoded.refused) == (0, {"kind": 1, "value": 1})
    assert (decoded.first_micros, decoded.last_micros) == (NOW * 1_000_000, NOW * 1_000_000)
