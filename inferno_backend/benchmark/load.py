"""A closed loop of requests against one Triton: a number of them is always in flight.

The requests are encoded once and answers are not decoded, so that the generator costs little; what it costs is
measured and told with every step, because it shares the machine with what it measures.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import grpc

from inferno_backend.benchmark.curve import Step, summary, uncertainty
from inferno_runtime import rpc
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, TimedOut

METHOD = "/inference.GRPCInferenceService/ModelInfer"
# A server that refuses is asked again only after this time.
_AFTER_FAILURE = 0.02
# What is in flight when a step ends is waited for: a cancelled request would still be executed, in the next step.
_SETTLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a step is measured.

    ``seconds`` at least, cut into ``windows``; then on until throughput is known to ``precision`` (see
    :func:`inferno_backend.benchmark.curve.uncertainty`) and ``requests`` were answered, but at most ``stretch`` times
    as long. The first ``warm_up`` seconds do not count.
    """

    seconds: float = 2.0
    warm_up: float = 0.5
    windows: int = 8
    precision: float = 0.05
    requests: int = 100
    stretch: float = 4.0


@dataclass(slots=True)
class _Seen:
    """What the workers of a step have seen since it was last cleared."""

    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    error: grpc.aio.AioRpcError | None = None
    over: bool = False


class Load:
    """Requests to the Triton at ``address``. Close it when done."""

    def __init__(self, address: str, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._channel = rpc.channel(address)
        self._infer: Any = self._channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)

    async def once(self, request: bytes, timeout: float) -> bytes:
        """The encoded answer to one request.

        Raises:
            InfernoError: As :func:`inferno_runtime.rpc.error_from_rpc` says.
        """
        try:
            answer: bytes = await self._infer(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from error
        return answer

    async def step(self, request: bytes, batch: int, concurrency: int, effort: Effort) -> Step:
        """Hold ``concurrency`` requests in flight and measure.

        Raises:
            TimedOut: Nothing was answered in the time.
            InfernoError: Every request failed.
        """
        seen = _Seen()
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._work(request, seen)) for _ in range(concurrency)]
            try:
                await self._clock.sleep(effort.warm_up)
                seen.latencies.clear()
                seen.failures = 0
                step = await self._measured(seen, batch, concurrency, effort)
                seen.over = True
                await asyncio.wait(workers, timeout=_SETTLE_SECONDS)
            finally:
                for worker in workers:
                    worker.cancel()
        return step

    async def _measured(self, seen: _Seen, batch: int, concurrency: int, effort: Effort) -> Step:
        window = effort.seconds / effort.windows
        rates: list[float] = []
        began, cpu, counted = self._clock.monotonic(), time.process_time(), 0
        at = began
        while True:
            await self._clock.sleep(window)
            now, done = self._clock.monotonic(), len(seen.latencies)
            rates.append((done - counted) / (now - at))
            at, counted = now, done
            known = uncertainty(rates) <= effort.precision and counted >= effort.requests
            if len(rates) >= effort.windows and (known or at - began >= effort.seconds * effort.stretch):
                break
        if not counted:
            raise self._nothing(seen, at - began)
        used = time.process_time() - cpu
        return summary(batch, concurrency, seen.latencies[:counted], rates, at - began, used, seen.failures)

    def _nothing(self, seen: _Seen, seconds: float) -> InfernoError:
        if seen.error is not None:
            return self._error(seen.error)
        return TimedOut(
            f"Triton at {self._address} answered no request within {seconds:.1f} s.",
            reason="NO_ANSWER",
            fix="Give a longer step with --step-seconds.",
        )

    async def _work(self, request: bytes, seen: _Seen) -> None:
        while not seen.over:
            began = self._clock.monotonic()
            try:
                await self._infer(request)
            except grpc.aio.AioRpcError as error:
                seen.failures += 1
                seen.error = error
                await self._clock.sleep(_AFTER_FAILURE)
            else:
                seen.latencies.append(self._clock.monotonic() - began)

    def _error(self, error: grpc.aio.AioRpcError) -> InfernoError:
        return rpc.error_from_rpc(error, f"Triton at {self._address}")
