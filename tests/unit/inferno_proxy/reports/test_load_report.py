"""Load reports: bytes as Envoy sends them in, counts per model and endpoint out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from envoy_data_plane.envoy.config.core.v3 import Address as EnvoyAddress
from envoy_data_plane.envoy.config.core.v3 import Node as EnvoyNode
from envoy_data_plane.envoy.config.core.v3 import Pipe
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterStats, UpstreamEndpointStats, UpstreamLocalityStats
from envoy_data_plane.envoy.service.load_stats.v3 import LoadStatsRequest, LoadStatsResponse

from inferno_proxy.feedback.observed import Counts
from inferno_proxy.fleet import Address, FleetView, Member, Phase, Source
from inferno_proxy.reports.load_report import LoadReports, report_request
from inferno_proxy.reports.places import Places
from inferno_proxy.resources.names import copies_of, grpc_cluster, http_cluster
from inferno_proxy.resources.packing import envoy_address
from inferno_runtime.errors import InvalidInput
from tests.unit.inferno_proxy.nodes import model, node

GRPC, REST = Address("127.0.0.1", 8001), Address("127.0.0.1", 8000)


def fleet(*, phase: Phase = Phase.SERVING) -> Places:
    one = node("a", port=8001, http_address=REST, models=(model("m"), model("n")))
    return Places().follow(FleetView(1, {"a": Member(one, phase, Source.AGENT, 0.0)}))


def endpoint(where: Address | str = GRPC, issued: int = 0, ok: int = 0, error: int = 0, busy: int = 0) -> ClusterStats:
    stats = UpstreamEndpointStats(
        address=EnvoyAddress(pipe=Pipe(path=where)) if isinstance(where, str) else envoy_address(where),
        total_issued_requests=issued,
        total_successful_requests=ok,
        total_error_requests=error,
        total_requests_in_progress=busy,
    )
    return ClusterStats(
        cluster_name=grpc_cluster("m"),
        upstream_locality_stats=[UpstreamLocalityStats(upstream_endpoint_stats=[stats])],
        load_report_interval=timedelta(seconds=0.5),
    )


def named(name: str, stats: ClusterStats) -> ClusterStats:
    stats.cluster_name = name
    return stats


def report(*clusters: ClusterStats, client: str = "envoy") -> bytes:
    return bytes(LoadStatsRequest(node=EnvoyNode(id=client) if client else None, cluster_stats=list(clusters)))


def counts(issued: int, ok: int, error: int, busy: int, *, at: float = 7.0, address: Address = GRPC) -> Counts:
    return Counts("envoy", "m", address, issued, ok, error, busy, 0.5, at)


def test_a_report_becomes_counts_per_endpoint_of_grpc_and_rest_alike() -> None:
    rest = named(http_cluster("m"), endpoint(REST, 2, 2))
    found = LoadReports().take(report(endpoint(GRPC, 9, 5, 1, 3), rest), fleet(), 7.0)
    assert found == [counts(9, 5, 1, 3), counts(2, 2, 0, 0, address=REST)]


def test_endpoints_of_every_locality_count_and_one_named_twice_counts_once() -> None:
    cluster = endpoint(GRPC, 1, 1)
    cluster.upstream_locality_stats += endpoint(REST, 2).upstream_locality_stats
    cluster.upstream_locality_stats += endpoint(GRPC, 500).upstream_locality_stats
    found = LoadReports().take(report(cluster, endpoint(GRPC, 900)), fleet(), 7.0)
    assert found == [counts(1, 1, 0, 0), counts(2, 0, 0, 0, address=REST)]


@pytest.mark.parametrize("cluster", [copies_of(grpc_cluster("m")), "inferno_xds", "inferno_control", "model/m/ftp", ""])
def test_clusters_that_take_no_calls_of_a_model_are_left_out(cluster: str) -> None:
    assert LoadReports().take(report(named(cluster, endpoint(GRPC, 9))), fleet(), 7.0) == []


@pytest.mark.parametrize(
    "cluster",
    [
        endpoint("/some.sock", 1),
        endpoint(Address("127.0.0.1", 9), 1),
        endpoint(Address("not an address", 8001), 1),
        named(grpc_cluster("unknown"), endpoint(GRPC, 1)),
    ],
    ids=["a socket", "a stranger", "nonsense", "a model it does not have"],
)
def test_what_is_no_endpoint_of_the_fleet_is_left_out(cluster: ClusterStats) -> None:
    assert LoadReports().take(report(cluster), fleet(), 7.0) == []


def test_a_failed_nodes_last_calls_still_count() -> None:
    assert LoadReports().take(report(endpoint(GRPC, 1)), fleet(phase=Phase.FAILED), 7.0) == [counts(1, 0, 0, 0)]


def test_an_endpoint_that_a_report_misses_has_nothing_under_way_any_more() -> None:
    reports = LoadReports()
    reports.take(report(endpoint(GRPC, 2, busy=2)), fleet(), 7.0)
    empty = ClusterStats(cluster_name=grpc_cluster("m"), load_report_interval=timedelta(seconds=0.5))
    assert reports.take(report(empty, client=""), fleet(), 7.5) == [counts(0, 0, 0, 0, at=7.5)]
    assert reports.take(report(empty, client=""), fleet(), 8.0) == []


def test_only_the_first_report_must_say_whose_it_is() -> None:
    reports = LoadReports()
    reports.take(report(), fleet(), 7.0)
    assert reports.take(report(endpoint(GRPC, 1), client="somebody else"), fleet(), 7.0) == [counts(1, 0, 0, 0)]
    with pytest.raises(InvalidInput, match="does not say which data plane"):
        LoadReports().take(report(client=""), fleet(), 7.0)


def test_numbers_are_bounded_whatever_a_report_claims() -> None:
    cluster = endpoint(GRPC, 2**63, 2**62, 10**7, 2**40)
    cluster.load_report_interval = timedelta(days=9)
    (found,) = LoadReports().take(report(cluster), fleet(), 7.0)
    assert (found.issued, found.succeeded, found.failed, found.under_way) == (0, 10**6, 10**6, 10**6)
    assert found.seconds == 60
    cluster.load_report_interval = timedelta(days=-9)
    assert LoadReports().take(report(cluster), fleet(), 7.0)[0].seconds == 0.001


def test_bytes_that_are_no_report_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no load report"):
        LoadReports().take(b"\xff\xff\xff", fleet(), 7.0)


def test_envoy_is_asked_for_every_cluster_by_endpoint() -> None:
    asked = LoadStatsResponse.parse(report_request(1.5))
    assert asked.send_all_clusters
    assert asked.report_endpoint_granularity
    assert asked.load_reporting_interval == timedelta(seconds=1.5)
