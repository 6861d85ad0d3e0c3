"""An API key on every call of a channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import grpc


class _Bearer:
    def __init__(self, key: str) -> None:
        self._credential = ("authorization", f"Bearer {key}")

    async def _call(self, continuation: Callable[[Any, Any], Any], details: Any, request: Any) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()), self._credential)
        return await continuation(details._replace(metadata=metadata), request)


class _UnaryUnary(_Bearer, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._call(continuation, client_call_details, request)


class _UnaryStream(_Bearer, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._call(continuation, client_call_details, request)


class _StreamStream(_Bearer, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._call(continuation, client_call_details, request_iterator)


def bearer(key: str) -> Sequence[grpc.aio.ClientInterceptor]:
    """What sends ``key`` with each call of the kinds that a command makes (a stream of requests alone is not one)."""
    return [cast("Any", kind)(key) for kind in (_UnaryUnary, _UnaryStream, _StreamStream)]
