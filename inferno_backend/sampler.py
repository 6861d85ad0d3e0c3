"""Samples of work and devices: what happened within a window, from the readings of Triton's counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from google.protobuf import duration_pb2, timestamp_pb2

from inferno.governance.v1 import telemetry_pb2
from inferno_backend.inventory import Probe, Use
from inferno_backend.meter import Reading
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_runtime.latest import Latest
from inferno_runtime.mailbox import Mailbox


class Sampler:
    """Puts the samples of each window into a mailbox, which counts what it cannot hold.

    Work is added up over every reading, so that a restart of Triton within a window loses nothing that was read.
    """

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
        self._began: Reading | None = None
        self._last: Reading | None = None
        self._done: dict[Key, Counters] = {}

    async def run(self) -> None:
        """Sample until cancelled. Windows follow one another without a gap, also over a restart of Triton."""
        async for reading in self._readings.watch():
            if reading is not None:
                self.take(reading)

    def take(self, reading: Reading) -> None:
        """Add what was done until this reading; end the window when it is full. The first reading only begins one."""
        if self._last is None or self._began is None:
            self._began = self._last = reading
            self._uses()
            return
        for key, counters in reading.counters.items():
            before = self._last.counters.get(key)
            # A version that was not there before has done all it did since.
            done = counters.since(before) if before else counters
            self._done[key] = replace(self._done.get(key, Counters()) + done, pending=counters.pending)
        self._last = reading
        # Readings come every half second; a window that is nearly full is full.
        if reading.at - self._began.at >= self._window * 0.9:
            self.finish()

    def finish(self) -> None:
        """End the window at the last reading and begin the next."""
        if self._last is None or self._began is None or self._last.at <= self._began.at:
            return
        for sample in samples(self._began, self._last, self._done, self._uses()):
            self._mailbox.put(sample)
        self._began, self._done = self._last, {}

    def _uses(self) -> list[Use]:
        return [use for probe in self._probes for use in probe.uses()]


def samples(
    began: Reading, ended: Reading, work: Mapping[Key, Counters], uses: Sequence[Use]
) -> Iterator[telemetry_pb2.Sample]:
    """One sample for each model version and each device, for the window between two readings."""
    time, window = timestamp_pb2.Timestamp(), duration_pb2.Duration()
    time.FromNanoseconds(int(ended.wall * 1e9))
    window.FromNanoseconds(int((ended.at - began.at) * 1e9))
    for (model, version), done in sorted(work.items()):
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
