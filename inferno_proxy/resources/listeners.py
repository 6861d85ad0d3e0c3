"""The public listener (LDS) for Envoy: one port for HTTP/1.1 and HTTP/2, inference and everything else."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from envoy_data_plane.envoy.config.core.v3 import (
    AsyncDataSource,
    CidrRange,
    DataSource,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    KeepaliveSettings,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, FilterChainMatch, Listener
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.http.wasm.v3 import Wasm
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerCodecType,
    HttpConnectionManagerForwardClientCertDetails,
    HttpConnectionManagerInternalAddressConfig,
    HttpFilter,
    Rds,
)
from envoy_data_plane.envoy.extensions.wasm.v3 import FailurePolicy, PluginConfig, VmConfig
from envoy_data_plane.google.protobuf import StringValue

from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.resources import call_filter
from inferno_proxy.resources.access_log import access_log
from inferno_proxy.resources.call_stats import call_stats
from inferno_proxy.resources.clusters import ads
from inferno_proxy.resources.global_rates import global_rate_filter
from inferno_proxy.resources.local_replies import local_replies
from inferno_proxy.resources.names import PUBLIC
from inferno_proxy.resources.outside_headers import outside_headers
from inferno_proxy.resources.packing import envoy_address, packed, seconds
from inferno_proxy.resources.rate_limits import rate_filter
from inferno_proxy.resources.routes import CALL_FILTER
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.resources.size_limits import size_filter
from inferno_proxy.resources.tracing import request_ids, tracing
from inferno_proxy.resources.try_log import try_logs

ROUTER = "envoy.filters.http.router"


@lru_cache(maxsize=8)
def listener_resource(settings: ResourceSettings) -> Resource:
    """The listener. It depends on settings alone: what the fleet does changes routes and endpoints, never this."""
    chains = [FilterChain(filters=[_manager(settings, trusted=False)])]
    if settings.trusted:
        ranges = FilterChainMatch(source_prefix_ranges=[_range(each) for each in settings.trusted])
        peers = FilterChain(filters=[_manager(settings, trusted=True)], filter_chain_match=ranges, name="trusted")
        chains.insert(0, peers)
    listener = Listener(
        name=PUBLIC,
        address=envoy_address(settings.listen),
        filter_chains=chains,
        per_connection_buffer_limit_bytes=1024 * 1024,
    )
    return Resource.of(PUBLIC, bytes(listener))


def _range(cidr: str) -> CidrRange:
    network = ipaddress.ip_network(cidr)
    return CidrRange(address_prefix=str(network.network_address), prefix_len=network.prefixlen)


def _manager(settings: ResourceSettings, *, trusted: bool) -> Filter:
    manager = HttpConnectionManager(
        stat_prefix=PUBLIC,
        codec_type=HttpConnectionManagerCodecType.AUTO,
        rds=Rds(config_source=ads(), route_config_name=PUBLIC),
        http_filters=[
            HttpFilter(name=CALL_FILTER, typed_config=packed(Wasm(config=_call_filter(settings)))),
            *([rate_filter()] if settings.rate_limits else []),
            *([global_rate_filter()] if settings.rate_limit_service else []),
            *([size_filter()] if settings.size_limits else []),
            HttpFilter(name=ROUTER, typed_config=packed(Router(suppress_envoy_headers=True, upstream_log=try_logs()))),
        ],
        early_header_mutation_extensions=[outside_headers(settings.asked_for, trusted=trusted)],
        # The peer is the client: x-envoy-* and x-forwarded-for from outside are not believed, but from trusted ranges.
        use_remote_address=True,
        internal_address_config=HttpConnectionManagerInternalAddressConfig(
            cidr_ranges=[_range(each) for each in settings.trusted] if trusted else []
        ),
        # Who a caller is, is said by Envoy alone.
        forward_client_cert_details=HttpConnectionManagerForwardClientCertDetails.SANITIZE,
        generate_request_id=False,
        normalize_path=True,
        merge_slashes=True,
        local_reply_config=local_replies(),
        access_log=[*call_stats(), *access_log(settings.access_log)],
        tracing=tracing(settings.traces),
        request_id_extension=request_ids(settings.traces),
        common_http_protocol_options=HttpProtocolOptions(idle_timeout=seconds(3600), max_headers_count=100),
        http2_protocol_options=Http2ProtocolOptions(
            # Windows stay at Envoy's own 16 and 24 MiB: 1 MiB a stream cost a tenth more CPU for a body of 600 kB.
            max_concurrent_streams=1000,
            # A client that vanished is noticed within 40 s; streams without traffic stay open otherwise.
            connection_keepalive=KeepaliveSettings(interval=seconds(30), timeout=seconds(10)),
        ),
        request_headers_timeout=seconds(10),
        stream_idle_timeout=seconds(300),
        drain_timeout=seconds(5),
    )
    return Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))


def _call_filter(settings: ResourceSettings) -> PluginConfig:
    """The module runs in a sandbox of each worker. If it ever fails, calls that need it are refused, and it is loaded
    again; calls that name their model in a header never meet it."""
    words = [word for word, wanted in (("aliases", settings.aliases), ("fingerprints", settings.healing)) if wanted]
    return PluginConfig(
        name=CALL_FILTER,
        root_id=CALL_FILTER,
        configuration=packed(StringValue(value=" ".join(words))) if words else None,
        vm_config=VmConfig(
            vm_id=CALL_FILTER,
            runtime="envoy.wasm.runtime.v8",
            code=AsyncDataSource(local=DataSource(inline_bytes=call_filter.module())),
        ),
        failure_policy=FailurePolicy.FAIL_RELOAD,
        allow_on_headers_stop_iteration=True,
    )
