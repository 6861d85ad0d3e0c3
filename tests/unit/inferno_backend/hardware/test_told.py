"""What is told of a device for a window."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferno.governance.v1.telemetry_pb2 import DeviceSample, ProcessUse
from inferno_backend.hardware import use
from inferno_backend.hardware.told import device_sample
from inferno_backend.hardware.use import Use

GPU = Use(
    "GPU-1",
    "gpu",
    0.5,
    10,
    80,
    memory_utilization=0.25,
    energy_joules=101.5,
    power_watts=70.5,
    power_limit_watts=72.0,
    temperature_celsius=45.0,
    sm_clock_mhz=2040,
    memory_clock_mhz=6250,
    slowdowns=("sw_power_cap",),
    ecc_corrected=3,
    ecc_uncorrected=0,
    xids={13: 3, 79: 1},
    processes=(use.ProcessUse(7, 9, 0.4), use.ProcessUse(8)),
)


def test_everything_a_device_tells_is_told() -> None:
    assert device_sample(GPU, replace(GPU, energy_joules=100.0, xids={13: 1})) == DeviceSample(
        device_id="GPU-1",
        kind="gpu",
        utilization=0.5,
        memory_used_bytes=10,
        memory_total_bytes=80,
        energy_joules=1.5,
        memory_utilization=0.25,
        power_watts=70.5,
        power_limit_watts=72.0,
        temperature_celsius=45.0,
        sm_clock_mhz=2040,
        memory_clock_mhz=6250,
        slowdowns=["sw_power_cap"],
        ecc_corrected=3,
        ecc_uncorrected=0,
        xids=[13, 13, 79],
        processes=[ProcessUse(pid=7, memory_bytes=9, utilization=0.4), ProcessUse(pid=8)],
    )


def test_what_a_device_does_not_tell_is_not_told() -> None:
    assert device_sample(Use("cpu", "cpu", load_average=1.5), None) == DeviceSample(
        device_id="cpu", kind="cpu", utilization_unknown=True, load_average=1.5
    )


@pytest.mark.parametrize(("before", "joules"), [(None, 0.0), (200.0, 0.0), (1.5, 100.0)])
def test_energy_is_of_the_window_and_never_negative(before: float | None, joules: float) -> None:
    earlier = None if before is None else replace(GPU, energy_joules=before)
    assert device_sample(GPU, earlier).energy_joules == joules
