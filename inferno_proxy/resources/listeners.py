"""The listeners (LDS) for Envoy: the public port, HTTP/1.1 and HTTP/2, inference and everything else; and the port for
members of the mesh."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from functools import lru_cache

from envoy_data_plane.envoy.config.core.v3 import (
    AsyncDataSource,
    CidrRange,
    DataSource,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    KeepaliveSettings,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, FilterChainMatch, Listener
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.http.wasm.v3 import Wasm
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerCodecType,
    HttpConnectionManagerForwardClientCertDetails,
    HttpConnectionManagerInternalAddressConfig,
    HttpConnectionManagerSetCurrentClientCertDetails,
    HttpFilter,
    Rds,
)
from envoy_data_plane.envoy.extensions.wasm.v3 import FailurePolicy, PluginConfig, VmConfig
from envoy_data_plane.google.protobuf import StringValue

from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.resources import call_filter
from inferno_proxy.resources.access import access_filters, budget_filters, names_filters
from inferno_proxy.resources.access_log import access_log
from inferno_proxy.resources.call_stats import call_stats
from inferno_proxy.resources.clusters import ads
from inferno_proxy.resources.global_rates import global_rate_filter
from inferno_proxy.resources.local_replies import local_replies
from inferno_proxy.resources.names import MESH, PUBLIC
from inferno_proxy.resources.outside_headers import outside_headers
from inferno_proxy.resources.packing import envoy_address, packed, seconds
from inferno_proxy.resources.rate_limits import rate_filter
from inferno_proxy.resources.refused_connections import refused_connections
from inferno_proxy.resources.routes import CALL_FILTER
from inferno_proxy.resources.server_tls import members_only, server_socket
from inferno_proxy.resources.settings import ResourceSettings, ServerTls
from inferno_proxy.resources.size_limits import size_filter
from inferno_proxy.resources.tracing import request_ids, tracing
from inferno_proxy.resources.try_log import try_logs
from inferno_proxy.resources.usage_stats import usage_stats

ROUTER = "envoy.filters.http.router"


def listeners(settings: ResourceSettings) -> Iterator[Resource]:
    """The listeners. They depend on settings alone: what the fleet does changes routes and endpoints, never these."""
    yield listener_resource(settings)
    if settings.mesh is not None:
        yield mesh_listener_resource(settings)


@lru_cache(maxsize=8)
def listener_resource(settings: ResourceSettings) -> Resource:
    """The public listener."""
    socket = server_socket(settings.tls) if settings.tls else None
    chains = [FilterChain(filters=[_public(settings, trusted=False)], transport_socket=socket)]
    if settings.trusted:
        ranges = FilterChainMatch(source_prefix_ranges=[_range(each) for each in settings.trusted])
        peers = FilterChain(
            filters=[_public(settings, trusted=True)],
            filter_chain_match=ranges,
            name="trusted",
            transport_socket=socket,
        )
        chains.insert(0, peers)
    asks = settings.tls is not None and settings.tls.clients
    return _listener(PUBLIC, None if settings.elsewhere else settings.listen, chains, asks=asks)


@lru_cache(maxsize=8)
def mesh_listener_resource(settings: ResourceSettings) -> Resource:
    """The listener for members of the mesh: services of ours and no model, over TLS with this proxy's identity.

    Who has no certificate is let in as well, to join: what he may do is decided by the services.
    """
    if settings.mesh is None or settings.identity is None:
        raise ValueError("a mesh port needs an address and an identity")
    manager = _manager(MESH, settings, outside_headers((), trusted=False))
    manager.http_filters = [
        members_only(settings.trust_domain),
        HttpFilter(name=ROUTER, typed_config=packed(Router(suppress_envoy_headers=True))),
    ]
    _tell_certificate(manager)
    socket = server_socket(ServerTls(settings.identity, clients=True))
    return _listener(MESH, settings.mesh, [FilterChain(filters=[_packed(manager)], transport_socket=socket)], asks=True)


def _listener(name: str, where: Address | None, chains: list[FilterChain], *, asks: bool) -> Resource:
    """``asks``: the port asks for certificates."""
    listener = Listener(
        name=name,
        address=envoy_address(where) if where else None,
        filter_chains=chains,
        per_connection_buffer_limit_bytes=1024 * 1024,
        access_log=refused_connections() if asks else [],
    )
    return Resource.of(name, bytes(listener))


def _tell_certificate(manager: HttpConnectionManager) -> None:
    """Have the services told of the caller's certificate, and of none that the caller tells of."""
    manager.forward_client_cert_details = HttpConnectionManagerForwardClientCertDetails.SANITIZE_SET
    manager.set_current_client_cert_details = HttpConnectionManagerSetCurrentClientCertDetails(subject=True, uri=True)


def _range(cidr: str) -> CidrRange:
    network = ipaddress.ip_network(cidr)
    return CidrRange(address_prefix=str(network.network_address), prefix_len=network.prefixlen)


def _public(settings: ResourceSettings, *, trusted: bool) -> Filter:
    manager = _manager(PUBLIC, settings, outside_headers(settings.asked_for, trusted=trusted))
    manager.http_filters = [
        *access_filters(settings),
        HttpFilter(name=CALL_FILTER, typed_config=packed(Wasm(config=_call_filter(settings)))),
        *names_filters(settings),
        *([rate_filter()] if settings.rate_limits else []),
        *([global_rate_filter()] if settings.rate_limit_service else []),
        *([size_filter()] if settings.size_limits else []),
        *budget_filters(settings),
        HttpFilter(name=ROUTER, typed_config=packed(Router(suppress_envoy_headers=True, upstream_log=try_logs()))),
    ]
    usage = [usage_stats()] if settings.governator is not None else []
    manager.access_log = [*call_stats(), *usage, *manager.access_log]
    if trusted:
        ranges = [_range(each) for each in settings.trusted]
        manager.internal_address_config = HttpConnectionManagerInternalAddressConfig(cidr_ranges=ranges)
    if settings.tls is not None and settings.tls.clients:
        _tell_certificate(manager)
    return _packed(manager)


def _manager(name: str, settings: ResourceSettings, outside: TypedExtensionConfig) -> HttpConnectionManager:
    """What every port has; ``outside`` drops headers."""
    return HttpConnectionManager(
        stat_prefix=name,
        codec_type=HttpConnectionManagerCodecType.AUTO,
        rds=Rds(config_source=ads(), route_config_name=name),
        early_header_mutation_extensions=[outside],
        # The peer is the client: x-envoy-* and x-forwarded-for from outside are not believed, but from trusted ranges.
        use_remote_address=True,
        internal_address_config=HttpConnectionManagerInternalAddressConfig(),
        # Who a caller is, is said by Envoy alone.
        forward_client_cert_details=HttpConnectionManagerForwardClientCertDetails.SANITIZE,
        generate_request_id=False,
        normalize_path=True,
        merge_slashes=True,
        local_reply_config=local_replies(clients=settings.asks),
        access_log=access_log(settings.access_log),
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


def _packed(manager: HttpConnectionManager) -> Filter:
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
