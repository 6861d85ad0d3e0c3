"""The loop that makes telemetry of what Prometheus has scraped, each moment of each node once.

Prometheus keeps the samples; all that is kept here is how far each node is stored. That is the sequence of its last
batch, Unix milliseconds, committed with the batch itself. After a start, and after anything that failed, reading begins
at the earliest of these positions, with the values of shortly before it as where counters start from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1.telemetry_pb2 import DeviceSample, ModelSample, NodeFacts, Sample, TelemetryBatch
from inferno.governance.v1.usage_pb2 import RequestSample
from inferno_governator.intake import Intake
from inferno_governator.metrics import Metrics
from inferno_governator.prometheus.client import Prometheus, RawSeries
from inferno_governator.prometheus.meter import STALE, Meter, Taken, Thing, Window
from inferno_governator.prometheus.settings import said_of
from inferno_governator.prometheus.vocabulary import AGENT, FAMILIES
from inferno_governator.settings import GovernatorSettings
from inferno_governator.store.store import Store
from inferno_governator.telemetry_decoder import decode
from inferno_governator.usage import Batch
from inferno_runtime import logs
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Exhausted, InfernoError

_LOG = logs.get("governator.prometheus")
# The life of every node that Prometheus tells of: any number that no agent's clock gives.
INCARNATION: Final = int.from_bytes(b"Prom", "big")
# Milliseconds read at once, at most and at least: an answer that is too large is asked for again in halves.
_SPAN, _LEAST_SPAN = 60_000, 1_000
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 10.0
# A clock of Prometheus that is this far behind what is stored was set back.
_BACKWARDS = 60_000
# A node whose agent has sent telemetry within this time does not count a second time.
_OWN_SECONDS = 600.0


class _Handed:
    """Hears what became of the batches of one stretch."""

    def __init__(self) -> None:
        self._open = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._error: InfernoError | None = None

    # Each batch is another node's: one that is refused holds no other up.
    broken = False

    def submitted(self) -> None:
        self._open += 1
        self._settled.clear()

    def committed(self, batch: Batch) -> None:
        self._settle()

    def refused(self, error: InfernoError) -> None:
        self._error = self._error or error
        self._settle()

    def discarded(self) -> None:
        self._settle()

    async def all(self) -> None:
        """Wait until everything is settled.

        Raises:
            InfernoError: Something is not stored.
        """
        await self._settled.wait()
        if self._error is not None:
            raise self._error

    def _settle(self) -> None:
        self._open -= 1
        if not self._open:
            self._settled.set()


class PrometheusSource:
    """Reads one Prometheus server for ever.

    Raises when made:
        InvalidInput: ``settings.metrics`` is no address.
    """

    def __init__(
        self, settings: GovernatorSettings, store: Store, intake: Intake, clock: Clock, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._store = store
        self._intake = intake
        self._clock = clock
        self._metrics = metrics
        self._server = Prometheus(settings.metrics, settings.metrics_match)
        self._backoff = Backoff(_FIRST_WAIT, _LONGEST_WAIT)
        self._told = ""
        self._warned: set[str] = set()
        self._told_twice: set[str] = set()

    async def run(self) -> None:
        """Read until cancelled; what fails is told once, and tried again."""
        async with self._server:
            while True:
                try:
                    await self._follow()
                except InfernoError as error:
                    self._metrics.prometheus_reads.labels("failed").inc()
                    log = _LOG.debug if self._told == str(error) else _LOG.warning
                    self._told = str(error)
                    log("no telemetry from Prometheus now", error=error.sentence())
                    await self._clock.sleep(self._backoff.next())

    async def _follow(self) -> None:
        stored = await self._store.positions(INCARNATION)
        now = await self._now()
        read = self._begin(stored, now)
        meter = Meter(self._settings.metrics_node_label)
        facts: dict[str, NodeFacts] = {}
        # Only for what counters start from.
        meter.take(await self._scraped(read - STALE, read), {}, read)
        span = _SPAN
        while True:
            while read < now:
                end = min(now, read + span)
                try:
                    scraped = await self._scraped(read, end)
                except Exhausted:
                    if span <= _LEAST_SPAN:
                        raise
                    span //= 2
                    continue
                # A thousand nodes' scrapes take a third of a second, in which streams must be answered.
                taken = await asyncio.to_thread(meter.take, scraped, stored, read)
                await self._hand_in(taken, meter.gpus, facts, end)
                read, span = end, min(_SPAN, span * 2)
                self._tell(taken)
                self._metrics.prometheus_behind_seconds.set((now - read) / 1000)
            await self._clock.sleep(self._settings.metrics_seconds)
            now = await self._now()

    async def _now(self) -> int:
        return await self._server.now() - round(self._settings.metrics_delay_seconds * 1000)

    def _begin(self, stored: Mapping[str, int], now: int) -> int:
        """From when to read, Unix milliseconds."""
        oldest = now - self._settings.metrics_catch_up_minutes * 60_000
        latest = max(stored.values(), default=now - STALE)
        if latest < oldest:
            self._metrics.prometheus_gap_seconds.inc((oldest - latest) / 1000)
            _LOG.warning(
                "absent for longer than is read again: what Prometheus scraped before that is left out",
                left_out_seconds=(oldest - latest) // 1000,
                setting="metrics_catch_up_minutes",
            )
        if latest > now + _BACKWARDS:
            _LOG.warning(
                "the clock of Prometheus was set back: nothing is taken until it is where it was",
                seconds=(latest - now) // 1000,
            )
        return min((at for at in stored.values() if at >= oldest), default=max(oldest, now - STALE))

    async def _scraped(self, start: int, end: int) -> list[RawSeries]:
        found = []
        for family in FAMILIES:
            found += await self._server.samples((*family, AGENT), start, end)
        return found

    async def _hand_in(
        self, taken: Taken, gpus: Mapping[str, Mapping[str, str]], facts: dict[str, NodeFacts], end: int
    ) -> None:
        """Store a stretch, a batch for each node, and wait until all of it is on disk."""
        others = await self._store.told_otherwise(INCARNATION, _OWN_SECONDS)
        nodes: dict[str, list[Sample]] = {}
        for thing, windows in taken.windows.items():
            if thing.node in others:
                self._warn_told_twice(thing.node)
            else:
                nodes.setdefault(thing.node, []).extend(_samples(thing, windows))
        handed = _Handed()
        now = int(self._clock.wall() * 1_000_000)
        said: dict[str, NodeFacts] = {}
        for node, samples in nodes.items():
            wire = TelemetryBatch(node_id=node, incarnation=INCARNATION, sequence=end, samples=samples)
            said[node] = self._facts(node, gpus.get(node, {}))
            if facts.get(node) != said[node]:
                wire.facts.CopyFrom(said[node])
            await self._submit(decode(wire, now, most_samples=len(samples), consecutive=False), handed)
        await handed.all()
        facts.update(said)
        self._metrics.prometheus_reads.labels("stored").inc()
        self._backoff.reset()
        if self._told:
            _LOG.info("telemetry from Prometheus again")
            self._told = ""

    async def _submit(self, batch: Batch, handed: _Handed) -> None:
        while True:
            try:
                self._intake.submit(batch, handed)
            except Exhausted as full:
                # The agents' telemetry comes first: this waits in Prometheus.
                await self._clock.sleep(full.retry_after or _FIRST_WAIT)
            else:
                handed.submitted()
                return

    def _facts(self, node: str, gpus: Mapping[str, str]) -> NodeFacts:
        said = said_of(node, self._settings.metrics_nodes)
        return NodeFacts(
            price_micros_per_hour=said.price_micros_per_hour,
            region=said.region,
            device=min(gpus.values(), default=""),
            gpu_count=len(gpus),
            instance_type=said.instance_type,
            spot=said.spot,
        )

    def _warn_told_twice(self, node: str) -> None:
        if node not in self._told_twice:
            self._told_twice.add(node)
            _LOG.warning(
                "a node that sends telemetry itself is left out of what Prometheus tells; this is said once",
                node=node,
                setting="metrics_match",
            )

    def _tell(self, taken: Taken) -> None:
        self._metrics.prometheus_gap_seconds.inc(taken.gap / 1000)
        for reason, count in taken.refused.items():
            self._metrics.prometheus_refused_samples.labels(reason).inc(count)
            example = taken.examples[reason]
            if reason not in self._warned:
                self._warned.add(reason)
                _LOG.warning(
                    "impossible samples left out; this is said once", reason=reason, samples=count, first=example
                )


def _samples(thing: Thing, windows: Iterable[Window]) -> Iterable[Sample]:
    for window in windows:
        end, length = Timestamp(), Duration()
        end.FromMilliseconds(window.end)
        length.FromMilliseconds(window.length)
        if thing.subject == "model":
            yield Sample(time=end, window=length, model=_model(thing, window))
            if "output_tokens" in window.values:
                yield Sample(time=end, window=length, requests=_requests(thing, window))
        else:
            yield Sample(time=end, window=length, device=_device(thing, window))


def _model(thing: Thing, window: Window) -> ModelSample:
    told = window.values
    return ModelSample(
        model=thing.name,
        version=thing.version,
        requests=told.get("requests", 0),
        errors=told.get("errors", 0),
        inferences=told.get("inferences", 0),
        executions=told.get("executions", 0),
        request_micros=told.get("request_micros", 0),
        queue_micros=told.get("queue_micros", 0),
        compute_micros=told.get("compute_micros", 0),
        input_tokens=told.get("input_tokens", 0),
        output_tokens=told.get("output_tokens", 0),
        pending=told.get("pending", 0),
    )


def _requests(thing: Thing, window: Window) -> RequestSample:
    """What a server that counts tokens was asked; by whom, it does not say."""
    told = window.values
    return RequestSample(
        node=thing.node,
        model=thing.name,
        version=thing.version,
        requests=told.get("requests", 0),
        client_errors=told.get("client_errors", 0),
        server_errors=told.get("server_errors", 0),
        request_micros=told.get("request_micros", 0),
    )


def _device(thing: Thing, window: Window) -> DeviceSample:
    told = window.values
    return DeviceSample(
        device_id=thing.name,
        kind=thing.subject,
        utilization=told.get("busy", 0) / 1_000_000,
        utilization_unknown="busy" not in told,
        memory_used_bytes=told.get("memory_used", 0),
        memory_total_bytes=told.get("memory_total", 0),
        energy_joules=told.get("millijoules", 0) / 1000,
    )
