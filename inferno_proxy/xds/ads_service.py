"""The aggregated discovery service: both variants of ADS on a gRPC server, one stream object per call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import grpc

from inferno_proxy.identity.gate import Gate
from inferno_proxy.publishing.snapshot import Dialect, Snapshot, content_version
from inferno_proxy.xds.clients import ClientTable
from inferno_proxy.xds.order import Bounds
from inferno_proxy.xds.stream import DELTA, SOTW, Stream, Variant
from inferno_proxy.xds.subscription import Named
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Unavailable
from inferno_runtime.identity.caller import Caller, caller_of
from inferno_runtime.identity.permission import Action
from inferno_runtime.latest import Latest

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_LOG = logs.get("xds")

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]


class AdsService:
    """Serves the newest snapshot of its dialect to every client, and keeps ``clients`` up to date.

    An async context manager: inside it, streams are served; on leaving it, or after :meth:`close`, every stream has
    returned. Close it before the gRPC server stops, because a stopping server cancels its streams instead. Before the
    first snapshot clients wait: an empty answer would take away what they have. A client gets the configuration of the
    node id that ``gate`` lets it have.
    """

    def __init__(
        self,
        snapshots: Latest[Mapping[Dialect, Snapshot]],
        clients: ClientTable,
        clock: Clock,
        gate: Gate,
        *,
        bounds: Bounds | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._clients = clients
        self._clock = clock
        self._gate = gate
        self._bounds = bounds or Bounds()
        self._streams: dict[Stream, asyncio.Task[None]] = {}
        self._versions: dict[int, tuple[Named, str]] = {}
        self._closing = False
        self._ended = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def streams(self) -> int:
        """How many streams are served now."""
        return len(self._streams)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._tasks = [
            self._group.create_task(self._watch(), name="xds-snapshots"),
            self._group.create_task(self._clients.run(), name="xds-clients"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        finally:
            for task in self._tasks:
                task.cancel()
            await self._group.__aexit__(kind, error, trace)

    async def close(self, within: float = 1.0) -> None:
        """Let every stream return; waits for that up to ``within`` seconds. A client that reads nothing may take
        longer; its stream ends with the server."""
        self._closing = True
        for stream in tuple(self._streams):
            stream.close()
        try:
            async with asyncio.timeout(within):
                while self._streams:
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError:
            _LOG.warning("streams left to the server", streams=len(self._streams))
            for stream in tuple(self._streams):
                self._forget(stream)

    def register(self, server: grpc.aio.Server) -> None:
        """Add both methods to a server that has not started."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(self.StreamAggregatedResources),
            "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(self.DeltaAggregatedResources),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def StreamAggregatedResources(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """State of the world, as gRPC libraries speak it."""
        async for answer in self._serve(SOTW, requests, context):
            yield answer

    async def DeltaAggregatedResources(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Delta, as our Envoys speak it."""
        async for answer in self._serve(DELTA, requests, context):
            yield answer

    async def _serve(self, variant: Variant, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        if self._closing:
            raise Unavailable("The control plane is stopping.", reason="STOPPING", fix="Connect again in a moment.")
        stream = Stream(
            variant,
            self._snapshots,
            self._clients,
            self._clock,
            admit=partial(self._admit, caller_of(context)),
            bounds=self._bounds,
            version=self._version_of,
        )
        self._streams[stream] = self._group.create_task(stream.read(requests), name="xds-requests")
        # When a client cancels, a generator suspended at its yield hears of that late; the call itself at once.
        context.add_done_callback(cast("Any", lambda _: self._forget(stream)))
        async for answer in stream.answers():
            yield answer

    def _admit(self, caller: Caller, client_id: str, dialect: Dialect) -> None:
        self._gate.admit(caller, Action.CONFIGURE, client_id)
        if dialect is Dialect.ENVOY:
            self._gate.admit(caller, Action.PROXY, client_id)

    def _forget(self, stream: Stream) -> None:
        stream.close()
        reader = self._streams.pop(stream, None)
        if reader is not None:
            reader.cancel()
        self._ended.set()

    async def _watch(self) -> None:
        async for _ in self._snapshots.watch():
            self._versions = {}
            for stream in self._streams:
                stream.wake()

    def _version_of(self, named: Named) -> str:
        """The content version of a type, computed once for all streams."""
        found = self._versions.get(id(named))
        if found is None or found[0] is not named:
            found = self._versions[id(named)] = (named, content_version(named))
        return found[1]
