"""Envoy's load reports (LRS), read: how many tries each endpoint got, finished, failed and still holds.

Measured with Envoy 1.40: a try is ``issued`` once for each node it is sent to, so a retried or hedged call counts at
every node it met. It ends as ``success`` (any answer that is not an error of the server, INVALID_ARGUMENT among them)
or as ``error`` (5xx, or gRPC UNAVAILABLE, INTERNAL, UNKNOWN, UNIMPLEMENTED, DATA_LOSS, DEADLINE_EXCEEDED). A try that
was cancelled, by its caller or by the faster try of a hedged call, ends as neither: it only stops being in progress. A
connection that cannot be made is an ``error`` that was never ``issued``. A report names every cluster, but only the
endpoints with something to tell: one that had a try under way and is missing in the next report has none any more. What
a cluster does before Envoy's first report that names it is counted nowhere, except what is still under way.

Field numbers: envoy/service/load_stats/v3/lrs.proto and envoy/config/endpoint/v3/load_report.proto.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import DecodeError

from inferno_proxy.feedback.observed import Counts
from inferno_proxy.fleet import Address
from inferno_proxy.publishing.protobuf_subset import Description, messages
from inferno_proxy.reports.places import Places
from inferno_proxy.resources.names import model_of
from inferno_runtime.errors import InvalidInput

# Seconds between two reports. 0.5 lets a verdict on a node that holds work and finishes none rest on several reports
# within 2 s.
REPORT_EVERY = 0.5

# A report's numbers are bounded to what a data plane can have seen, whatever it claims.
_MOST_CALLS = 1_000_000
_LONGEST = 60.0

_FIELDS: Description = {
    "Duration": {"seconds": (1, "int"), "nanos": (2, "int")},
    "Node": {"id": (1, "string")},
    "SocketAddress": {"address": (2, "string"), "port_value": (3, "int")},
    "Address": {"socket_address": (1, "SocketAddress")},
    "UpstreamEndpointStats": {
        "address": (1, "Address"),
        "total_successful_requests": (2, "int"),
        "total_requests_in_progress": (3, "int"),
        "total_error_requests": (4, "int"),
        "total_issued_requests": (7, "int"),
    },
    "UpstreamLocalityStats": {"upstream_endpoint_stats": (7, "UpstreamEndpointStats*")},
    "ClusterStats": {
        "cluster_name": (1, "string"),
        "upstream_locality_stats": (2, "UpstreamLocalityStats*"),
        "load_report_interval": (4, "Duration"),
    },
    "LoadStatsRequest": {"node": (1, "Node"), "cluster_stats": (2, "ClusterStats*")},
    # The two flags are bools, which are varints on the wire like every integer.
    "LoadStatsResponse": {
        "load_reporting_interval": (2, "Duration"),
        "report_endpoint_granularity": (3, "int"),
        "send_all_clusters": (4, "int"),
    },
}


@functools.cache
def _messages() -> Callable[[str], Any]:
    return messages("inferno_load_report", _FIELDS)


def report_request(every: float = REPORT_EVERY) -> bytes:
    """An encoded ``LoadStatsResponse``: report all clusters, by endpoint, ``every`` so many seconds."""
    message = _messages()("LoadStatsResponse")(report_endpoint_granularity=1, send_all_clusters=1)
    message.load_reporting_interval.seconds = int(every)
    message.load_reporting_interval.nanos = round(every % 1 * 1e9)
    return bytes(message.SerializeToString())


class LoadReports:
    """The reports of one data plane, in their order: each is read with what the one before said was under way.

    ``client_id`` is the data plane's node id once the first one was read.
    """

    def __init__(self) -> None:
        self.client_id = ""
        self._busy: dict[str, frozenset[tuple[str, Address]]] = {}

    def take(self, raw: bytes, fleet: Places, now: float) -> list[Counts]:
        """Read one report that arrived at ``now`` (monotonic seconds). What is no endpoint of the fleet is left out.

        Raises:
            InvalidInput: The bytes are no load report, or the first does not say whose it is.
        """
        try:
            message = _messages()("LoadStatsRequest").FromString(raw)
        except DecodeError as error:
            raise _wrong(f"The message is no load report ({error}).") from error
        if not self.client_id:
            if not message.node.id:
                raise _wrong("The first load report does not say which data plane it comes from.")
            self.client_id = str(message.node.id)
        found: list[Counts] = []
        busy: dict[str, frozenset[tuple[str, Address]]] = {}
        for cluster in message.cluster_stats:
            model = model_of(cluster.cluster_name)
            if model is None or cluster.cluster_name in busy:
                continue
            here = list(self._cluster(cluster, model, fleet, now))
            idle = self._busy.get(cluster.cluster_name, frozenset()) - {(each.model, each.address) for each in here}
            seconds = _seconds(cluster.load_report_interval)
            found += here
            found += (Counts(self.client_id, *each, 0, 0, 0, 0, seconds, now) for each in sorted(idle))
            busy[cluster.cluster_name] = frozenset((each.model, each.address) for each in here if each.under_way)
        self._busy = busy
        return found

    def _cluster(self, cluster: Any, model: str, fleet: Places, now: float) -> Iterator[Counts]:
        seconds = _seconds(cluster.load_report_interval)
        seen: set[Address] = set()
        for locality in cluster.upstream_locality_stats:
            for stats in locality.upstream_endpoint_stats:
                where = stats.address.socket_address
                address = Address(where.address, where.port_value)
                if address in seen or fleet.node(model, address) is None:
                    continue
                seen.add(address)
                yield Counts(
                    client_id=self.client_id,
                    model=model,
                    address=address,
                    issued=_calls(stats.total_issued_requests),
                    succeeded=_calls(stats.total_successful_requests),
                    failed=_calls(stats.total_error_requests),
                    under_way=_calls(stats.total_requests_in_progress),
                    seconds=seconds,
                    at=now,
                )


def _calls(number: int) -> int:
    return min(max(number, 0), _MOST_CALLS)


def _seconds(duration: Any) -> float:
    return float(min(max(duration.seconds + duration.nanos / 1e9, 0.001), _LONGEST))


def _wrong(sentence: str) -> InvalidInput:
    return InvalidInput(
        sentence, reason="BAD_LOAD_REPORT", fix="Speak LRS v3 (envoy.service.load_stats.v3), with node.id first."
    )
