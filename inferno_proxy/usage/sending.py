"""Hand the book's batches to the governator, one at a time: the next goes out when the one before is on its disk."""

from __future__ import annotations

import asyncio
import functools
import operator
from typing import Any

import grpc

from inferno.governance.v1 import governance_service_pb2, governance_service_pb2_grpc, telemetry_pb2
from inferno_proxy.usage.book import Book
from inferno_proxy.usage.ledger import Sealed
from inferno_runtime import logs, rpc
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, Unavailable
from inferno_runtime.latest import Latest

_LOG = logs.get("usage")
_ACKNOWLEDGE_SECONDS = 15.0
# A mesh takes about this long until its governator answers: no reason for a warning.
_PATIENT_SECONDS = 5.0


class Sending:
    """Streams to the governator at ``target`` as ``sender``; ``turns`` changes when there may be something new."""

    def __init__(self, target: str, sender: str, book: Book, turns: Latest[int], clock: Clock) -> None:
        self._target = target
        self._sender = sender
        self._book = book
        self._turns = turns
        self._clock = clock
        self._began = clock.monotonic()
        self._told = ""

    async def run(self) -> None:
        """Send until cancelled."""
        backoff = Backoff(0.2, 10.0)
        async with rpc.channel(self._target) as channel:
            stub: Any = governance_service_pb2_grpc.GovernanceServiceStub(channel)
            while True:
                error = await self._stream(stub.StreamTelemetry(), backoff)
                self._tell(error)
                if error.reason == "BAD_TELEMETRY":
                    self._book.ledger.give_up()
                await self._clock.sleep((error.retry_after or 0) + backoff.next())

    async def flushed(self) -> None:
        """Return when there is nothing that waits to be acknowledged."""
        while self._book.ledger.sealed is not None or self._book.ledger.waiting:
            await self._clock.sleep(0.02)

    async def _stream(self, call: Any, backoff: Backoff) -> InfernoError:
        """Use one stream until it ends; return why it did."""
        try:
            while True:
                batch = await self._next()
                decoded = telemetry_pb2.TelemetryBatch.FromString(batch.batch)
                await call.write(governance_service_pb2.StreamTelemetryRequest(batch=decoded))
                async with asyncio.timeout(_ACKNOWLEDGE_SECONDS):
                    if not await self._acknowledged(call, batch):
                        break
                self._book.ledger.acknowledge(batch.sequence)
                backoff.reset()
                self._told = ""
        except grpc.aio.AioRpcError as error:
            return rpc.error_from_rpc(error, "the governator")
        except (TimeoutError, asyncio.InvalidStateError):
            pass  # It ended while nothing was written, or says nothing: what it said last is all there is.
        finally:
            call.cancel()
        return Unavailable("The governator does not acknowledge.", reason="NOT_ACKNOWLEDGED")

    async def _next(self) -> Sealed:
        """The next batch, on disk before it is sent: it would be numbered again after a restart otherwise."""
        while True:
            seen = self._turns.value
            kept = self._book.ledger.sealed
            batch = self._book.ledger.seal(self._sender)
            if batch is not None:
                if batch is not kept:
                    await self._book.keep()
                return batch
            await self._turns.wait_for(functools.partial(operator.ne, seen))

    async def _acknowledged(self, call: Any, batch: Sealed) -> bool:
        """Wait until this batch is stored; False when the stream ends instead."""
        while (response := await call.read()) is not grpc.aio.EOF:
            ours = response.incarnation == self._book.ledger.incarnation
            if ours and response.acknowledged_sequence >= batch.sequence:
                return True
        return False

    def _tell(self, error: InfernoError) -> None:
        """One line for each new reason, and none while a mesh is still starting."""
        starting = self._clock.monotonic() - self._began < _PATIENT_SECONDS
        if self._told == error.reason or (starting and error.temporary):
            _LOG.debug("usage waits", error=error.message, entries=self._book.ledger.waiting)
            return
        self._told = error.reason
        _LOG.warning("usage waits", error=error.sentence(), entries=self._book.ledger.waiting)
