"""What Envoy tells the control plane of callers that it turned away in the handshake: the services never see those."""

from __future__ import annotations

from envoy_data_plane.envoy.config.accesslog.v3 import AccessLog, AccessLogFilter, ExtensionFilter
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel.v3 import ExpressionFilter
from envoy_data_plane.envoy.extensions.access_loggers.grpc.v3 import TcpGrpcAccessLogConfig

from inferno_proxy.resources.names import REFUSED_CONNECTIONS
from inferno_proxy.resources.packing import packed
from inferno_proxy.resources.try_log import log_stream

# Envoy's words for a certificate that it does not take, or that is missing. Whoever speaks no TLS at all is no member
# with a bad certificate: such connections are counted only (inferno_tls_failures_total).
_ABOUT_CERTIFICATES = "connection.transport_failure_reason.contains('CERTIFICATE')"


def refused_connections() -> list[AccessLog]:
    """The log of them, for a port that asks for certificates."""
    expression = packed(ExpressionFilter(expression=_ABOUT_CERTIFICATES))
    refused = ExtensionFilter(name="envoy.access_loggers.extension_filters.cel", typed_config=expression)
    return [
        AccessLog(
            name="envoy.access_loggers.tcp_grpc",
            filter=AccessLogFilter(extension_filter=refused),
            typed_config=packed(TcpGrpcAccessLogConfig(common_config=log_stream(REFUSED_CONNECTIONS))),
        )
    ]
