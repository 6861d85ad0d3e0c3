"""What is told of a device for a window of time: its use as a message."""

from __future__ import annotations

from collections import Counter

from inferno.governance.v1 import telemetry_pb2
from inferno_backend.hardware.use import Use


def device_sample(use: Use, before: Use | None, fault: str = "") -> telemetry_pb2.DeviceSample:
    """The sample of one device: its use at the window's end.

    ``before`` is its use at the window's begin: what only grows is told by how much it grew. ``fault`` says why it can
    do no work.
    """
    return telemetry_pb2.DeviceSample(
        device_id=use.device_id,
        kind=use.kind,
        utilization=use.utilization or 0.0,
        utilization_unknown=use.utilization is None,
        memory_used_bytes=use.memory_used_bytes,
        memory_total_bytes=use.memory_total_bytes,
        energy_joules=_joules(use, before),
        memory_utilization=use.memory_utilization,
        power_watts=use.power_watts,
        power_limit_watts=use.power_limit_watts,
        temperature_celsius=use.temperature_celsius,
        sm_clock_mhz=use.sm_clock_mhz,
        memory_clock_mhz=use.memory_clock_mhz,
        slowdowns=use.slowdowns,
        ecc_corrected=use.ecc_corrected,
        ecc_uncorrected=use.ecc_uncorrected,
        xids=(Counter(use.xids) - Counter(before.xids if before else ())).elements(),
        processes=[
            telemetry_pb2.ProcessUse(pid=one.pid, memory_bytes=one.memory_bytes, utilization=one.utilization)
            for one in use.processes
        ],
        load_average=use.load_average,
        fault=fault,
    )


def _joules(use: Use, before: Use | None) -> float:
    """Energy since the last window; a driver that was loaded again counts from zero."""
    if use.energy_joules is None or before is None or before.energy_joules is None:
        return 0.0
    return max(0.0, use.energy_joules - before.energy_joules)
