"""Telemetry on its way to the governator: nothing is forgotten before it was acknowledged."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from inferno.governance.v1 import governance_service_pb2, telemetry_pb2
from inferno_backend.link import Link, joined
from inferno_backend.node import Identity
from inferno_runtime import logs, rpc
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Exhausted, InfernoError, Unavailable, Unsupported
from inferno_runtime.latest import Latest
from inferno_runtime.mailbox import Mailbox

_LOG = logs.get("uplink")
_STREAM_TELEMETRY = "/inferno.governance.v1.GovernanceService/StreamTelemetry"
_BATCH = 500
_LINGER = 1.0
# Batches sent ahead of their acknowledgement, at most; beyond it the mailbox holds what comes and counts what it drops.
# They are never dropped themselves: the governator may have stored them.
_UNACKNOWLEDGED = 32
_ACKNOWLEDGE_SECONDS = 15.0
# A mesh that starts with its nodes takes about this long until its governator answers: no reason for a warning.
_PATIENT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Batch:
    """A numbered batch of so many samples, as the bytes of its request: built once, however often it is sent."""

    sequence: int
    samples: int
    request: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far telemetry has come. Counts are since the agent began; ``buffered`` and ``unacknowledged`` are now.

    ``dropped`` samples found no place in the buffer, ``refused`` ones the governator will never take. ``batches`` were
    made, ``sent_again`` counts writes beyond the first of each.
    """

    connected: bool = False
    buffered: int = 0
    unacknowledged: int = 0
    dropped: int = 0
    refused: int = 0
    batches: int = 0
    acknowledged_batches: int = 0
    acknowledged_samples: int = 0
    sent_again: int = 0


def facts_of(identity: Identity) -> telemetry_pb2.NodeFacts:
    """What the bill needs to know of the node."""
    gpus = identity.hardware.gpus
    return telemetry_pb2.NodeFacts(
        price_micros_per_hour=identity.price_micros_per_hour,
        region=identity.region,
        device=gpus[0].name if gpus else "cpu",
        gpu_count=len(gpus),
        instance_type=identity.instance_type,
        spot=identity.spot,
        provider=identity.provider,
    )


class Uplink:
    """Streams batches through the first proxy that lets it, in order; resends what was not acknowledged."""

    def __init__(
        self,
        proxies: Sequence[str],
        identity: Identity,
        mailbox: Mailbox[bytes],
        clock: Clock,
        links: Latest[Link | None],
    ) -> None:
        self._proxies = proxies
        self._identity = identity
        self._mailbox = mailbox
        self._clock = clock
        self._links = links
        batch = telemetry_pb2.TelemetryBatch(facts=facts_of(identity))
        self._facts = governance_service_pb2.StreamTelemetryRequest(batch=batch).SerializeToString()
        self._sequence = 0
        self._unacknowledged: deque[_Batch] = deque()
        # How many batches wait for their acknowledgement.
        self._waiting = Latest(0)
        # Of them, those that were written on this stream, and how many those may be: half as many after each refusal of
        # a flooded governator, one more after a whole window without one (additive increase, multiplicative decrease).
        self._ahead = Latest(0)
        self._window = float(_UNACKNOWLEDGED)
        self._acknowledged_at = clock.monotonic()
        self._backoff = Backoff(0.2, 10.0)
        self._began = clock.monotonic()
        self._told = ""
        self._connected = False
        self._refused = 0
        self._acknowledged_batches = 0
        self._acknowledged_samples = 0
        self._sent_again = 0

    @property
    def outstanding(self) -> int:
        """Samples that the governator has not acknowledged."""
        return len(self._mailbox) + self._in_flight

    @property
    def progress(self) -> Progress:
        """How far telemetry has come by now."""
        return Progress(
            connected=self._connected,
            buffered=len(self._mailbox),
            unacknowledged=self._in_flight,
            dropped=self._mailbox.dropped,
            refused=self._refused,
            batches=self._sequence,
            acknowledged_batches=self._acknowledged_batches,
            acknowledged_samples=self._acknowledged_samples,
            sent_again=self._sent_again,
        )

    @property
    def _in_flight(self) -> int:
        return sum(batch.samples for batch in self._unacknowledged)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._over(await joined(self._links))

    async def _over(self, link: Link) -> None:
        """Send until there is another link."""
        channels = [link.channel(proxy) for proxy in self._proxies]
        # Without the generated stub, which takes messages: requests are bytes by now.
        stubs: list[Any] = [
            channel.stream_stream(
                _STREAM_TELEMETRY,
                response_deserializer=governance_service_pb2.StreamTelemetryResponse.FromString,
            )
            for channel in channels
        ]
        try:
            for proxy, stub in itertools.cycle(zip(self._proxies, stubs, strict=True)):
                error = await self._stream(link, stub, f"the governator behind {proxy}")
                self._connected = False
                if self._links.value != link:
                    return
                self._tell(error)
                self._give_up(error)
                if isinstance(error, Exhausted):
                    self._window = max(1.0, self._window / 2)
                # Beyond the delay that a flooded governator asks for, so that not all nodes come back at once.
                await self._clock.sleep((error.retry_after or 0) + self._backoff.next())
        finally:
            for channel in channels:
                await channel.close(None)

    async def flushed(self, timeout: float) -> bool:
        """Send what there is without waiting for more, until everything is acknowledged.

        False when it took longer than ``timeout`` seconds.
        """
        self._mailbox.hasten()
        try:
            async with asyncio.timeout(timeout):
                while self.outstanding:
                    await self._clock.sleep(0.02)
        except TimeoutError:
            _LOG.warning("samples are left behind", samples=self.outstanding)
            return False
        return True

    def _tell(self, error: InfernoError) -> None:
        """One line for each new reason, and none while a mesh is still starting."""
        starting = not self._acknowledged_batches and self._clock.monotonic() - self._began < _PATIENT_SECONDS
        if self._told == error.reason or (starting and error.temporary):
            _LOG.debug("telemetry waits", error=error.message, samples=self.outstanding)
            return
        self._told = error.reason
        _LOG.warning("telemetry waits", error=error.sentence(), samples=self.outstanding)

    def _give_up(self, error: InfernoError) -> None:
        """Drop the batch that the governator will never take: everything behind it would wait for ever."""
        if error.reason != "BAD_TELEMETRY":
            return
        sequence = error.metadata.get("sequence")
        for batch in [each for each in self._unacknowledged if str(each.sequence) == sequence]:
            self._unacknowledged.remove(batch)
            self._refused += batch.samples
        self._waiting.set(len(self._unacknowledged))

    async def _stream(self, link: Link, stub: Any, peer: str) -> InfernoError:
        """Use one stream until it ends; return why it did."""
        call = stub()
        self._ahead.set(0)
        self._acknowledged_at = self._clock.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(self._write(call))
                watching = group.create_task(self._watch(call))
                renewed = group.create_task(self._until_renewed(link, call))
                error = await self._read(call, peer)
                writing.cancel()
                watching.cancel()
                renewed.cancel()
        finally:
            call.cancel()
        return error

    async def _watch(self, call: Any) -> None:
        """End a stream whose batches are not acknowledged: the peer may be there and its store not."""
        while True:
            await self._waiting.wait_for(bool)
            await self._clock.sleep(1.0)
            if self._waiting.value and self._clock.monotonic() - self._acknowledged_at > _ACKNOWLEDGE_SECONDS:
                call.cancel()

    async def _until_renewed(self, link: Link, call: Any) -> None:
        await self._links.wait_for(lambda now: now != link)
        call.cancel()

    async def _read(self, call: Any, peer: str) -> InfernoError:
        try:
            async for response in call:
                self._acknowledge(response)
        except grpc.aio.AioRpcError as error:
            failed = rpc.error_from_rpc(error, peer)
            if isinstance(failed, Unsupported):
                return Unsupported(
                    f"{peer} is not there: the proxy takes no telemetry.",
                    reason="NO_GOVERNATOR",
                    fix="Give the proxy a governator (--governator), or send none (--no-telemetry).",
                )
            return failed
        except asyncio.CancelledError:
            # Our own cancel of the call arrives here too; a cancel of this task must go on.
            if not call.cancelled() or _being_cancelled():
                raise
        return Unavailable(f"{peer} does not acknowledge.", reason="NOT_ACKNOWLEDGED")

    def _acknowledge(self, response: governance_service_pb2.StreamTelemetryResponse) -> None:
        self._backoff.reset()
        self._told = ""
        self._connected = True
        self._acknowledged_at = self._clock.monotonic()
        if response.incarnation != self._identity.incarnation:
            return
        if response.refused_samples:
            if not self._refused:
                _LOG.warning(
                    "the governator leaves samples out", samples=response.refused_samples, why=response.refusal
                )
            self._refused += response.refused_samples
        while self._unacknowledged and self._unacknowledged[0].sequence <= response.acknowledged_sequence:
            self._acknowledged_batches += 1
            self._acknowledged_samples += self._unacknowledged.popleft().samples
            self._window = min(float(_UNACKNOWLEDGED), self._window + 1 / self._window)
            self._ahead.set(self._ahead.value - 1)
        self._waiting.set(len(self._unacknowledged))

    async def _write(self, call: Any) -> None:
        """Send again what was not acknowledged, then what comes."""
        try:
            # The first batch of a stream has the facts.
            facts = self._facts
            again = deque(self._unacknowledged)
            while True:
                await self._ahead.wait_for(lambda ahead: ahead < self._window)
                self._sent_again += bool(again)
                batch = again.popleft() if again else self._batch(await self._mailbox.take(_BATCH, _LINGER))
                self._ahead.set(self._ahead.value + 1)
                await call.write(facts + batch.request)
                facts = b""
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # The stream has ended; the reader knows why.

    def _batch(self, taken: Sequence[bytes]) -> _Batch:
        """Number a batch and keep it until it is acknowledged."""
        self._sequence += 1
        head = telemetry_pb2.TelemetryBatch(
            node_id=self._identity.node_id,
            incarnation=self._identity.incarnation,
            sequence=self._sequence,
            dropped_samples=self._mailbox.dropped + self._refused,
        )
        # Requests put one after another are one request: see the sampler.
        request = governance_service_pb2.StreamTelemetryRequest(batch=head).SerializeToString() + b"".join(taken)
        batch = _Batch(self._sequence, len(taken), request)
        if not self._unacknowledged:
            self._acknowledged_at = self._clock.monotonic()
        self._unacknowledged.append(batch)
        self._waiting.set(len(self._unacknowledged))
        return batch


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
