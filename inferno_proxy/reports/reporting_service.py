"""Where data planes report: load reports (LRS) and logs of tries (ALS) on the control plane's gRPC server.

Envoys of other machines report over the public port, so nothing here believes a size, a rate or an address: a stream is
read at a bounded pace (the rest waits in its client), streams are bounded, and what is no endpoint of the fleet is left
out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import grpc

from inferno_proxy.feedback.observed import Counts, Try
from inferno_proxy.fleet import FleetView
from inferno_proxy.identity.gate import Gate
from inferno_proxy.reports.load_report import LoadReports, report_request
from inferno_proxy.reports.places import Places
from inferno_proxy.reports.refused_connections import read_refused_connections
from inferno_proxy.reports.try_log import TryLog
from inferno_proxy.resources.names import REFUSED_CONNECTIONS, TRIES
from inferno_proxy.services.closing import Closing
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Exhausted
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action
from inferno_runtime.latest import Latest

LOAD_SERVICE = "envoy.service.load_stats.v3.LoadReportingService"
LOG_SERVICE = "envoy.service.accesslog.v3.AccessLogService"
_LOG = logs.get("reports")
# One Envoy has a stream for its load and one per worker for its tries.
_MOST_STREAMS = 1024
# What one stream may send, in bytes and in messages a second.
_BYTES_A_SECOND = 2_000_000
_MESSAGES_A_SECOND = 20

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]


class ReportingService:
    """Reads what data planes report of the fleet in ``view``.

    ``counts`` takes what each load report says, ``tries`` those of each log by its name: a fair sample of single tries,
    those that failed, the ones in the sample among them, and those of calls that ask to be explained. Connections that
    were refused go to ``gate``, to be noted. A data plane reports for the node id that ``gate`` lets it have.
    """

    def __init__(
        self,
        view: Latest[FleetView],
        clock: Clock,
        closing: Closing,
        gate: Gate,
        *,
        counts: Callable[[Sequence[Counts]], None],
        tries: Mapping[str, Callable[[Sequence[Try]], None]],
        most_streams: int = _MOST_STREAMS,
    ) -> None:
        self._view = view
        self._clock = clock
        self._closing = closing
        self._gate = gate
        self._counts = counts
        self._tries = tries
        self._most_streams = most_streams
        self._streams = 0
        self._places = Places()

    def register(self, server: grpc.aio.Server) -> None:
        """Add both methods to a server that has not started."""
        loads: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "StreamLoadStats": grpc.stream_stream_rpc_method_handler(self.StreamLoadStats)
        }
        log: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "StreamAccessLogs": grpc.stream_unary_rpc_method_handler(self.StreamAccessLogs)
        }
        for service, handlers in ((LOAD_SERVICE, loads), (LOG_SERVICE, log)):
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    async def StreamLoadStats(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Ask for load reports and take them until the data plane goes."""
        self._enter(context)
        reports, asked = LoadReports(), False
        async for raw in self._read(requests):
            found = reports.take(raw, self._fleet(), self._clock.monotonic())
            if not asked:
                self._gate.admit(caller_of(context), Action.CONFIGURE, reports.client_id)
                asked = True
                yield report_request()
            if found:
                self._counts(found)

    async def StreamAccessLogs(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        """Take a log until the data plane goes; the answer is empty."""
        self._enter(context)
        log, admitted = TryLog(), False
        async for raw in self._read(requests):
            tries = log.take(raw, self._fleet(), self._clock.monotonic())
            if not admitted:
                self._gate.admit(caller_of(context), Action.CONFIGURE, log.client_id)
                admitted = True
            if log.name == REFUSED_CONNECTIONS:
                for refused in read_refused_connections(raw):
                    self._gate.turned_away(refused.peer, refused.error)
            elif tries:
                # A foreign Envoy may have named its log otherwise.
                self._tries.get(log.name, self._tries[TRIES])(tries)
        return b""

    def _enter(self, context: Context) -> None:
        if self._streams >= self._most_streams:
            raise Exhausted(
                f"{self._streams} streams of reports are open, the most there may be.",
                reason="TOO_MANY_REPORTERS",
                fix="Run fewer data planes on one proxy.",
            )
        self._streams += 1
        context.add_done_callback(cast("Any", lambda _: self._leave()))

    def _leave(self) -> None:
        self._streams -= 1

    async def _read(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Each message, at a pace the control plane can bear; a call that ends while one is awaited ends the reading.

        Raises:
            Unavailable: The control plane stops.
        """
        # A second's worth may come at once; after that, time must pass.
        free_at = self._clock.monotonic() - 1
        try:
            async for raw in self._closing.during(requests):
                yield raw
                now = self._clock.monotonic()
                free_at = max(free_at, now - 1) + max(1 / _MESSAGES_A_SECOND, len(raw) / _BYTES_A_SECOND)
                if free_at > now:
                    await self._clock.sleep(free_at - now)
        except grpc.aio.UsageError:
            _LOG.debug("call ended while a report was awaited")

    def _fleet(self) -> Places:
        return self._places.follow(self._view.value)
