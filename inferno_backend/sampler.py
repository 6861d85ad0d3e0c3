"""Samples of work and devices: what happened between two readings of Triton's counters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.protobuf import duration_pb2, timestamp_pb2

from inferno.governance.v1 import telemetry_pb2
from inferno_backend.inventory import Probe, Use
from inferno_backend.meter import Reading
from inferno_runtime.latest import Latest
from inferno_runtime.mailbox import Mailbox


class Sampler:
    """Puts the samples of each window into a mailbox, which counts what it cannot hold."""

    def __init__(
        self,
        readings: Latest[Reading | None],
        probes: Sequence[Probe],
        mailbox: Mailbox[telemetry_pb2.Sample],
        window: float,
    ) -> None:
        self._readings = readings
        self._probes = probes
        self._mailbox = mailbox
        self._window = window
        self._last: Reading | None = None

    async def run(self) -> None:
        """Sample until cancelled. Windows follow one another without a gap, also over a restart of Triton."""
        async for reading in self._readings.watch():
            # Readings come every half second; a window that is nearly full is full.
            if reading and (self._last is None or reading.at - self._last.at >= self._window * 0.9):
                self.take(reading)

    def take(self, reading: Reading) -> None:
        """End the window at this reading and begin the next. The first reading only begins one."""
        earlier, self._last = self._last, reading
        uses = [use for probe in self._probes for use in probe.uses()]
        if earlier is None or reading.at <= earlier.at:
            return
        for sample in samples(earlier, reading, uses):
            self._mailbox.put(sample)


def samples(earlier: Reading, now: Reading, uses: Sequence[Use]) -> Iterator[telemetry_pb2.Sample]:
    """One sample for each model version and each device."""
    time, window = timestamp_pb2.Timestamp(), duration_pb2.Duration()
    time.FromNanoseconds(int(now.wall * 1e9))
    window.FromNanoseconds(int((now.at - earlier.at) * 1e9))
    for (model, version), counters in sorted(now.counters.items()):
        before = earlier.counters.get((model, version))
        # A version that was not there before has done all it did within the window.
        done = counters.since(before) if before else counters
        yield telemetry_pb2.Sample(
            time=time,
            window=window,
            model=telemetry_pb2.ModelSample(
                model=model,
                version=version,
                requests=done.success,
                errors=done.failure,
                inferences=done.inferences,
                executions=done.executions,
                request_micros=done.request_micros,
                queue_micros=done.queue_micros,
                compute_micros=done.compute_micros,
                pending=done.pending,
            ),
        )
    for use in uses:
        yield telemetry_pb2.Sample(
            time=time,
            window=window,
            device=telemetry_pb2.DeviceSample(
                device_id=use.device_id,
                kind=use.kind,
                utilization=use.utilization,
                memory_used_bytes=use.memory_used_bytes,
                memory_total_bytes=use.memory_total_bytes,
                energy_joules=use.energy_joules,
            ),
        )
