"""What the Envoy beside a Triton is started with, and where it leads: pure functions of values.

It works below HTTP: it ends TLS and passes bytes on. So pings, trailers and GOAWAY travel between the data plane and
Triton as if it were not there, and a refused connection to Triton is a refused connection to the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inferno_backend.node import Endpoints
from inferno_runtime.addresses import is_ip, parse_address
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import Role, prefix_of
from inferno_runtime.identity.secrets import Secret, own_certificate, peer_authority

Json = Mapping[str, object]
_TYPE = "type.googleapis.com/envoy"
# Which members may send work: the proxies' data planes, and gRPC clients that balance by themselves.
_CALLERS = (Role.PROXY, Role.CLIENT)
_MAX_CONNECTIONS = 10_000
_CONNECT_TIMEOUT = "0.5s"
# Whoever connects and does not finish the handshake is cut off.
_HANDSHAKE_TIMEOUT = "5s"


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the sidecar listens: an address and two ports."""

    host: str
    grpc: int
    http: int


def bootstrap(doors: Doors, identity: IdentityFolder, domain: str, clusters: str) -> Json:
    """The whole configuration; ``clusters`` is the path of the file that says where Triton is (:func:`leading_to`)."""
    source = {"path_config_source": {"path": clusters}, "resource_api_version": "V3"}
    limit = "envoy.resource_monitors.global_downstream_max_connections"
    most = {
        "@type": f"{_TYPE}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": _MAX_CONNECTIONS,
    }
    return {
        "node": {"id": "sidecar", "cluster": "inferno"},
        "static_resources": {
            "listeners": [
                _listener("grpc", doors.host, doors.grpc, _tls(identity, domain, "h2")),
                _listener("http", doors.host, doors.http, _tls(identity, domain, "http/1.1")),
            ]
        },
        "dynamic_resources": {"cds_config": source},
        "overload_manager": {"resource_monitors": [{"name": limit, "typed_config": most}]},
    }


def leading_to(triton: Endpoints) -> Json:
    """The file that says where Triton is; an address that is empty lets nobody through."""
    clusters = [_cluster("grpc", triton.grpc), _cluster("http", triton.http)]
    return {"resources": [{"@type": f"{_TYPE}.config.cluster.v3.Cluster", **cluster} for cluster in clusters]}


def _listener(name: str, host: str, port: int, tls: Json) -> Json:
    proxy = {
        "@type": f"{_TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": name,
        "cluster": name,
        # A connection of the data plane may be quiet for as long as nobody calls.
        "idle_timeout": "0s",
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": host, "port_value": port}},
        # A second Envoy would share the port unnoticed.
        "enable_reuse_port": False,
        "filter_chains": [
            {
                "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}],
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                "transport_socket_connect_timeout": _HANDSHAKE_TIMEOUT,
            }
        ],
    }


def _tls(identity: IdentityFolder, domain: str, protocol: str) -> Json:
    callers = [{"san_type": "URI", "matcher": {"prefix": prefix_of(domain, role)}} for role in _CALLERS]
    return {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [_secret(own_certificate(identity))],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": callers},
                "validation_context_sds_secret_config": _secret(peer_authority(identity)),
            },
            "alpn_protocols": [protocol],
        },
        # A resumed session asks for no certificate: one that has ended would go on being good.
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
    }


def _secret(secret: Secret) -> Json:
    path = {"path_config_source": {"path": str(secret.path)}, "resource_api_version": "V3"}
    return {"name": secret.name, "sds_config": path}


def _cluster(name: str, address: str) -> dict[str, object]:
    host, port = parse_address(address) if address else ("", 0)
    where = {"socket_address": {"address": host, "port_value": port}}
    return {
        "name": name,
        # The address may be a name where somebody else runs Triton.
        "type": "STATIC" if not host or is_ip(host) else "STRICT_DNS",
        "connect_timeout": _CONNECT_TIMEOUT,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}] if address else [],
        },
        "circuit_breakers": {
            "thresholds": [{"max_connections": _MAX_CONNECTIONS, "max_pending_requests": _MAX_CONNECTIONS}]
        },
    }
