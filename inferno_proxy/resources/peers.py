"""TLS towards the nodes: who the data plane is there, and whom it takes for a node.

Nodes that take TLS and nodes that do not may serve one model: each endpoint says what it takes, and the cluster has a
socket for either. docs/decisions/0077 says why a node is known by its role and not by its own name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from envoy_data_plane.envoy.config.cluster.v3 import ClusterTransportSocketMatch
from envoy_data_plane.envoy.config.core.v3 import (
    AggregatedConfigSource,
    ApiVersion,
    ConfigSource,
    PathConfigSource,
    TransportSocket,
)
from envoy_data_plane.envoy.extensions.transport_sockets.raw_buffer.v3 import RawBuffer
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateProviderPluginInstance,
    CertificateValidationContext,
    CommonTlsContext,
    CommonTlsContextCombinedCertificateValidationContext,
    SdsSecretConfig,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    TlsParameters,
    TlsParametersTlsProtocol,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Struct, Value

from inferno_proxy.envoy.bootstrap import PEER_CERTIFICATES
from inferno_proxy.resources.packing import packed
from inferno_proxy.routing.plan import Endpoint, without_gaps
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import Role, prefix_of
from inferno_runtime.identity.secrets import Secret, own_certificate, peer_authority

# Where Envoy looks in an endpoint's metadata for what its socket must match.
MATCH = "envoy.transport_socket_match"
TAKES_TLS = Struct(fields={"tls": Value(bool_value=True)})
_TLS = "envoy.transport_sockets.tls"


@lru_cache(maxsize=16)
def sockets(identity: Path | None, domain: str, *, http2: bool) -> tuple[ClusterTransportSocketMatch, ...]:
    """TLS for the endpoints that take it, and a plain socket for all others; without ``identity`` Envoy asks the
    control plane where its own is."""
    context = UpstreamTlsContext(
        common_tls_context=CommonTlsContext(
            tls_params=TlsParameters(tls_minimum_protocol_version=TlsParametersTlsProtocol.TLSv1_2),
            tls_certificate_sds_secret_configs=[_secret(own_certificate, identity)],
            combined_validation_context=CommonTlsContextCombinedCertificateValidationContext(
                default_validation_context=CertificateValidationContext(
                    match_typed_subject_alt_names=[
                        SubjectAltNameMatcher(
                            san_type=SubjectAltNameMatcherSanType.URI,
                            matcher=StringMatcher(prefix=prefix_of(domain, Role.NODE)),
                        )
                    ]
                ),
                validation_context_sds_secret_config=_secret(peer_authority, identity),
            ),
            alpn_protocols=["h2" if http2 else "http/1.1"],
        ),
        # A resumed session asks for no certificate: one that has ended would go on being good.
        max_session_keys=0,
    )
    return (
        ClusterTransportSocketMatch(
            name="tls", match=TAKES_TLS, transport_socket=TransportSocket(name=_TLS, typed_config=packed(context))
        ),
        ClusterTransportSocketMatch(
            name="plain",
            match=Struct(),
            transport_socket=TransportSocket(
                name="envoy.transport_sockets.raw_buffer", typed_config=packed(RawBuffer())
            ),
        ),
    )


@lru_cache(maxsize=16)
def client_socket(domain: str) -> TransportSocket:
    """The same for gRPC clients: their certificates are those that their bootstrap names (gRFC A29)."""
    certificates = CertificateProviderPluginInstance(instance_name=PEER_CERTIFICATES)
    nodes = CertificateValidationContext(
        ca_certificate_provider_instance=certificates,
        # Deprecated, but gRPC libraries do not read the typed form that took its place.
        match_subject_alt_names=[StringMatcher(prefix=prefix_of(domain, Role.NODE))],
    )
    common = CommonTlsContext(tls_certificate_provider_instance=certificates, validation_context=nodes)
    return TransportSocket(name=_TLS, typed_config=packed(UpstreamTlsContext(common_tls_context=common)))


def one_socket(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """The endpoints a gRPC client is given, which has one socket for a whole cluster: those of the kind, TLS or not,
    that more of those that take work are of, TLS if neither is."""
    if len({each.tls for each in endpoints}) < 2:
        return endpoints
    taking = [each.tls for each in endpoints if not each.draining] or [each.tls for each in endpoints]
    tls = 2 * sum(taking) >= len(taking)
    return without_gaps(tuple(each for each in endpoints if each.tls is tls))


def _secret(which: Callable[[IdentityFolder], Secret], identity: Path | None) -> SdsSecretConfig:
    if identity is not None:
        return from_file(which(IdentityFolder(identity)))
    asked = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
    return SdsSecretConfig(name=which(IdentityFolder(Path())).name, sds_config=asked)


def from_file(secret: Secret) -> SdsSecretConfig:
    """A secret that Envoy reads from a file, and again when that changes."""
    return SdsSecretConfig(
        name=secret.name,
        sds_config=ConfigSource(
            path_config_source=PathConfigSource(path=str(secret.path)), resource_api_version=ApiVersion.V3
        ),
    )
