"""Bootstrap configurations: what an Envoy must know before it can ask the control plane.

Only the standard library: the process that starts Envoy uses this and stays small.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inferno_proxy.fleet import Address

_TYPE = "type.googleapis.com/envoy"
XDS_CLUSTER = "inferno_xds"
# The layer of runtime values that the control plane sends: limits that change while clusters stay as they are.
RUNTIME_LAYER = "inferno"
# What an Envoy of another machine says of itself in its node's metadata: where it listens, and its identity's folder.
LISTEN = "inferno.listen"
IDENTITY = "inferno.identity"
# What a gRPC client calls the certificates that it meets nodes with; the control plane's clusters name it.
PEER_CERTIFICATES = "inferno"
MAX_CONNECTIONS = 10_000
# What an Envoy that was replaced had counted lies beside its admin socket, under the socket's name with this ending.
LAST_FIGURES = ".figures"
# Runtime value: the access log is written with this percentage, 100 when nobody says so.
ACCESS_LOG_SWITCH = "inferno.access_log"
Json = Mapping[str, object]
_QUIET: Json = {"name": "quiet", "static_layer": {ACCESS_LOG_SWITCH: 0}}
_LOAD_REPORTS: Json = {
    "load_stats_config": {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
    }
}
# Upper bounds of the latency histograms in milliseconds, those of inferno_proxy/metrics/durations.py. Envoy's own reach
# an hour, and each is a line for each model.
_BUCKETS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000)
_HISTOGRAMS: Json = {
    "histogram_bucket_settings": [{"match": {"suffix": "upstream_rq_time"}, "buckets": list(_BUCKETS)}]
}
_EJECTIONS: Json = {"outlier_detection": {"event_log_path": "/dev/stdout"}}


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """How a local Envoy runs.

    ``directory`` holds its files and admin sockets. ``xds_socket`` is the control plane's Unix socket. ``listen`` is
    the public address, which the control plane's listener also has. ``node_id`` tells it from others that share the
    folder and the address. ``workers`` is the number of worker threads. ``max_connections`` bounds the connections of
    all clients together. ``life`` counts its processes: when one is replaced, two live at the same time.
    ``quiet``: it writes no access log.
    """

    directory: Path
    xds_socket: Path
    listen: Address
    node_id: str = "envoy"
    workers: int = 2
    max_connections: int = MAX_CONNECTIONS
    life: int = 0
    quiet: bool = False

    @property
    def admin_socket(self) -> Path:
        """Envoy's admin interface: a Unix socket that only its owner may open."""
        return self.directory / f"{self.node_id}-admin-{self.life % 1000}.sock"

    @property
    def standby_file(self) -> Path:
        """The last good configuration, complete in one file; the control plane writes it. The name carries the public
        address, so that a proxy that moved to another port does not open the old one."""
        return standby_path(self.directory, self.listen)


def standby_path(directory: Path, listen: Address) -> Path:
    """Where the standby configuration for one public address lies."""
    return directory / f"standby-{listen.host.replace(':', '_')}-{listen.port}.pb"


def local_base(settings: EnvoySettings) -> Json:
    """What every local Envoy has, wherever its resources come from: admin socket, identity, limits. It writes its
    ejections of endpoints to standard output, and nothing else."""
    return {
        "admin": {"address": {"pipe": {"path": str(settings.admin_socket), "mode": 0o600}}},
        "cluster_manager": _EJECTIONS,
        "stats_config": _HISTOGRAMS,
        "node": {"id": settings.node_id, "cluster": "inferno"},
        **limits(settings.max_connections),
        **_runtime(*([_QUIET] if settings.quiet else [])),
    }


def local_bootstrap(settings: EnvoySettings) -> Json:
    """The local Envoy with its resources from the control plane."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(settings.xds_socket)}}}}
    return {
        **local_base(settings),
        **discovery({"type": "STATIC", "load_assignment": assignment({"lb_endpoints": [endpoint]})}),
        "cluster_manager": {**_EJECTIONS, **_LOAD_REPORTS},
    }


def assignment(*localities: Json) -> Json:
    """Where the control plane is."""
    return {"cluster_name": XDS_CLUSTER, "endpoints": list(localities)}


def encode(bootstrap: Json) -> str:
    """JSON with stable order, for a file or an environment variable."""
    return json.dumps(bootstrap, indent=2, sort_keys=True) + "\n"


def limits(max_connections: int) -> dict[str, object]:
    """A cap on connections, since Envoy has none; and clients that open and reset streams in a hurry are cut off."""
    monitor = "envoy.resource_monitors.global_downstream_max_connections"
    config = {
        "@type": f"{_TYPE}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": max_connections,
    }
    return {"overload_manager": {"resource_monitors": [{"name": monitor, "typed_config": config}]}, **_runtime()}


def _runtime(*followed: Json) -> dict[str, object]:
    """Runtime values: our own, under those of the layers that are followed."""
    own = {
        "overload.premature_reset_total_stream_count": 500,
        "overload.premature_reset_min_stream_lifetime_seconds": 1,
        # The expression of the headers that are not taken from outside is longer than Envoy's 100 instructions.
        "re2.max_program_size.error_level": 2000,
    }
    return {"layered_runtime": {"layers": [{"name": "static", "static_layer": own}, *followed]}}


def _followed() -> Json:
    """The control plane's layer. Envoy asks for it before all else and starts without it when nobody knows it."""
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "1s"}
    return {"name": RUNTIME_LAYER, "rtds_layer": {"name": RUNTIME_LAYER, "rtds_config": source}}


def discovery(cluster: Json) -> dict[str, object]:
    """One aggregated delta stream for everything, and one for load reports the other way; ``cluster`` says where the
    control plane is, and how it is reached.

    The reconnect back-off is far below Envoy's default, which takes 8 to 12 s to come back; keepalive finds a control
    plane that is stopped or cut off. An update that would leave no clusters is refused: it can only be a mistake, since
    the control plane's own clusters are always there.
    """
    validator = {
        "name": "envoy.config.validators.minimum_clusters_validator",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.config.validators.minimum_clusters.v3.MinimumClustersValidator",
            "min_clusters_num": 1,
        },
    }
    back_off = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}
    source = {"ads": {}, "resource_api_version": "V3"}
    http2 = {
        "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {
            "http2_protocol_options": {"connection_keepalive": {"interval": "5s", "timeout": "2s"}},
        },
    }
    return {
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": back_off}}],
                "config_validators": [validator],
            },
            "cds_config": source,
            "lds_config": source,
        },
        "cluster_manager": _LOAD_REPORTS,
        **_runtime(_followed()),
        "static_resources": {
            "clusters": [
                {
                    "name": XDS_CLUSTER,
                    "connect_timeout": "1s",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
                    },
                    **cluster,
                }
            ]
        },
    }
