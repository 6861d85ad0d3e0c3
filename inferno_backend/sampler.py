"""Samples of work and devices: what happened within a window, from the readings of Triton's counters.

A sample waits in the mailbox as the bytes it goes out in: a request with this one sample. Requests put one after
another are one request with all their samples (protobuf's encoding guide, "Last One Wins": a parser merges embedded
messages and appends repeated fields), so a batch is a join. Why: docs/decisions/0127.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from inferno.governance.v1 import governance_service_pb2, telemetry_pb2
from inferno_backend.hardware.told import device_sample
from inferno_backend.hardware.use import DeviceReading, Use
from inferno_backend.meter import Reading
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_runtime.latest import Latest
from inferno_runtime.mailbox import Mailbox

_NOTHING = Counters()
_WELL: Mapping[str, str] = MappingProxyType({})
# The devices are read once a second; a reading much older says nothing of the window.
_FRESH = 5.0


class Sampler:
    """Puts the samples of each window into a mailbox, which counts what it cannot hold.

    Work is added up over every reading, so that a restart of Triton within a window loses nothing that was read.
    ``mailbox`` None: nobody wants them, and only the last window is kept. ``faults`` says of devices, by id, why they
    can do no work.
    """

    def __init__(
        self,
        readings: Latest[Reading | None],
        devices: Latest[DeviceReading | None],
        mailbox: Mailbox[bytes] | None,
        window: float,
        faults: Latest[Mapping[str, str]] | None = None,
    ) -> None:
        self._readings = readings
        self._devices = devices
        self._faults: Latest[Mapping[str, str]] = Latest({}) if faults is None else faults
        self._before: dict[str, Use] = {}
        self._mailbox = mailbox
        self._window = window
        self._began: Reading | None = None
        self._last: Reading | None = None
        # Each version's counters where its window began, and what it did before its counters began anew.
        self._bases: dict[Key, Counters] = {}
        self._carried: dict[Key, Counters] = {}
        self._newest: tuple[bytes, ...] = ()

    async def run(self) -> None:
        """Sample until cancelled. Windows follow one another without a gap, also over a restart of Triton."""
        async for reading in self._readings.watch():
            if reading is not None:
                self.take(reading)

    def newest(self) -> Sequence[telemetry_pb2.Sample]:
        """The samples of the last window that has ended."""
        return decoded(self._newest)

    def take(self, reading: Reading) -> None:
        """Add what was done until this reading; end the window when it is full. The first reading only begins one."""
        if self._last is None or self._began is None:
            self._begin(reading)
            self._see(self._uses(reading))
            return
        last, bases = self._last.counters, self._bases
        for key, counters in reading.counters.items():
            before = last.get(key)
            if before is None:
                # A version that was not there before has done all it did since.
                bases[key] = _NOTHING
            elif counters.fell(before):
                self._carry(key, before)
            elif counters.tokens_fell(before):
                self._carry_tokens(key, before)
        for key in last.keys() - reading.counters.keys():
            self._carry(key, last[key])
        self._last = reading
        # Readings come every half second; a window that is nearly full is full.
        if reading.at - self._began.at >= self._window * 0.9:
            self.finish()

    def finish(self) -> None:
        """End the window at the last reading and begin the next."""
        if self._last is None or self._began is None or self._last.at <= self._began.at:
            return
        wall, seconds = self._last.wall, self._last.at - self._began.at
        models = of_models(wall, seconds, self._last.counters, self._bases, self._carried)
        uses = self._uses(self._last)
        self._newest = (*models, *of_devices(wall, seconds, uses, self._before.values(), self._faults.value))
        self._see(uses)
        if self._mailbox is not None:
            for sample in self._newest:
                self._mailbox.put(sample)
        self._begin(self._last)

    def _begin(self, reading: Reading) -> None:
        self._began = self._last = reading
        self._bases, self._carried = dict(reading.counters), {}

    def _carry(self, key: Key, counters: Counters) -> None:
        """Keep what a version did until its counters begin anew, or it is gone."""
        self._carried[key] = self._carried.get(key, _NOTHING) + counters.since(self._bases[key])
        self._bases[key] = _NOTHING

    def _carry_tokens(self, key: Key, counters: Counters) -> None:
        """The same for tokens alone."""
        base = self._bases[key]
        self._carried[key] = self._carried.get(key, _NOTHING) + counters.since(base).tokens()
        self._bases[key] = base.without_tokens()

    def _see(self, uses: Iterable[Use]) -> None:
        """Note where the devices' next window begins: one whose driver hangs makes up for it when it is back."""
        self._before |= {use.device_id: use for use in uses}

    def _uses(self, reading: Reading) -> tuple[Use, ...]:
        """The devices as they were last seen; none when that was too long before the reading."""
        seen = self._devices.value
        return seen.uses if seen is not None and reading.at - seen.at < _FRESH else ()


def of_models(
    wall: float,
    seconds: float,
    counters: Mapping[Key, Counters],
    bases: Mapping[Key, Counters],
    carried: Mapping[Key, Counters],
) -> Iterator[bytes]:
    """One sample for each model version, for the window of ``seconds`` that ended at ``wall`` (Unix seconds).

    A version did what its ``counters`` have beyond its ``bases``, and what is ``carried``. One message is filled again
    and again, field by field: with thousands of versions this is where telemetry's processor time goes.
    """
    request = _request(wall, seconds)
    message = request.batch.samples[0].model
    for key, now in _ended(counters, bases, carried):
        base = _NOTHING if key in carried else bases[key]
        message.model, message.version = key
        message.requests = now.success - base.success
        message.errors = now.failure - base.failure
        message.inferences = now.inferences - base.inferences
        message.executions = now.executions - base.executions
        message.request_micros = now.request_micros - base.request_micros
        message.queue_micros = now.queue_micros - base.queue_micros
        message.compute_micros = now.compute_micros - base.compute_micros
        message.input_tokens = now.input_tokens - base.input_tokens
        message.output_tokens = now.output_tokens - base.output_tokens
        message.pending = now.pending
        yield request.SerializeToString()


def _ended(
    counters: Mapping[Key, Counters], bases: Mapping[Key, Counters], carried: Mapping[Key, Counters]
) -> Iterator[tuple[Key, Counters]]:
    """Each version with its counters; one whose counters began anew, or which is gone, with all it did."""
    for key, now in counters.items():
        if key in carried:
            yield key, replace(carried[key] + now.since(bases[key]), pending=now.pending)
        else:
            yield key, now
    for key in carried.keys() - counters.keys():
        yield key, replace(carried[key], pending=0)


def of_devices(
    wall: float, seconds: float, uses: Iterable[Use], before: Iterable[Use] = (), faults: Mapping[str, str] = _WELL
) -> Iterator[bytes]:
    """One sample for each device, for the window of ``seconds`` that ended at ``wall`` (Unix seconds).

    ``uses`` are the devices at its end, ``before`` at its begin, ``faults`` why some can do no work, by their id.
    """
    earlier = {use.device_id: use for use in before}
    for use in uses:
        request = _request(wall, seconds)
        told = device_sample(use, earlier.get(use.device_id), faults.get(use.device_id, ""))
        request.batch.samples[0].device.CopyFrom(told)
        yield request.SerializeToString()


def _request(wall: float, seconds: float) -> governance_service_pb2.StreamTelemetryRequest:
    """A request with one sample that says nothing yet but when."""
    request = governance_service_pb2.StreamTelemetryRequest()
    sample = request.batch.samples.add()
    sample.time.FromNanoseconds(int(wall * 1e9))
    sample.window.FromNanoseconds(int(seconds * 1e9))
    return request


def decoded(samples: Iterable[bytes]) -> Sequence[telemetry_pb2.Sample]:
    """Samples as messages again."""
    return governance_service_pb2.StreamTelemetryRequest.FromString(b"".join(samples)).batch.samples
