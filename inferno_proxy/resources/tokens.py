"""Tokens (JWT) of clients: Envoy's own filter verifies them, and says whose they are in a header.

A call without a token, or with one that is not accepted, goes on: the filter of callers behind this one knows keys as
well, and refuses whoever has neither.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from urllib.parse import urlsplit

from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterDiscoveryType, ClusterDnsLookupFamily
from envoy_data_plane.envoy.config.core.v3 import DataSource, HttpUri, TransportSocket
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.config.route.v3 import RouteMatch
from envoy_data_plane.envoy.extensions.filters.http.jwt_authn.v3 import (
    JwksAsyncFetch,
    JwtAuthentication,
    JwtCacheConfig,
    JwtClaimToHeader,
    JwtHeader,
    JwtProvider,
    JwtRequirement,
    JwtRequirementOrList,
    RemoteJwks,
    RequirementRule,
)
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    CommonTlsContext,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    TlsParameters,
    TlsParametersTlsProtocol,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Empty

from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.resources.names import SUBJECT_HEADER, TOKEN_KEYS
from inferno_proxy.resources.packing import envoy_address, packed, seconds
from inferno_proxy.routing.access import TokenRules
from inferno_runtime.addresses import is_ip

TOKENS_FILTER = "envoy.filters.http.jwt_authn"
_PROVIDER = "issuer"
# In the metadata of a call whose token is not accepted (read by access_filter/callers.c).
_FAILURE = "inferno.failure"
# Seconds: how long keys from a URL count as fresh, and how long one fetch may take.
_FRESH = 300
_PATIENCE = 2
_HTTPS = 443


def token_filter(rules: TokenRules) -> HttpFilter:
    """The filter in the chain."""
    provider = JwtProvider(
        issuer=rules.issuer,
        audiences=list(rules.audiences),
        require_expiration=True,
        clock_skew_seconds=rules.leeway,
        from_headers=[JwtHeader(name="authorization", value_prefix="Bearer ")],
        claim_to_headers=[JwtClaimToHeader(header_name=SUBJECT_HEADER, claim_name="sub")],
        failed_status_in_metadata=_FAILURE,
        jwt_cache_config=JwtCacheConfig(),
    )
    if rules.is_remote:
        provider.remote_jwks = RemoteJwks(
            http_uri=HttpUri(uri=rules.jwks, cluster=TOKEN_KEYS, timeout=seconds(_PATIENCE)),
            cache_duration=seconds(_FRESH),
            # Fetched before the first token comes; the port does not wait for it, since keys of clients need none.
            async_fetch=JwksAsyncFetch(fast_listener=True),
        )
    else:
        provider.local_jwks = DataSource(inline_string=rules.jwks)
    either = [JwtRequirement(provider_name=_PROVIDER), JwtRequirement(allow_missing_or_failed=Empty())]
    requirement = JwtRequirement(requires_any=JwtRequirementOrList(requirements=either))
    return HttpFilter(
        name=TOKENS_FILTER,
        typed_config=packed(
            JwtAuthentication(
                providers={_PROVIDER: provider},
                rules=[RequirementRule(match=RouteMatch(prefix="/"), requires=requirement)],
            )
        ),
    )


@lru_cache(maxsize=4)
def key_cluster(rules: TokenRules) -> Resource:
    """The server that the keys are fetched from, over TLS."""
    parts = urlsplit(rules.jwks)
    where = Address(parts.hostname or "", parts.port or _HTTPS)
    endpoint = LbEndpoint(endpoint=Endpoint(address=envoy_address(where)))
    cluster = Cluster(
        name=TOKEN_KEYS,
        type=ClusterDiscoveryType.LOGICAL_DNS,
        dns_lookup_family=ClusterDnsLookupFamily.ALL,
        connect_timeout=seconds(_PATIENCE),
        load_assignment=ClusterLoadAssignment(
            cluster_name=TOKEN_KEYS, endpoints=[LocalityLbEndpoints(lb_endpoints=[endpoint])]
        ),
        transport_socket=TransportSocket(
            name="envoy.transport_sockets.tls", typed_config=packed(_tls(where.host, rules.ca))
        ),
    )
    return Resource.of(TOKEN_KEYS, bytes(cluster))


def _tls(host: str, authorities: str) -> UpstreamTlsContext:
    named = not is_ip(host)
    kind = SubjectAltNameMatcherSanType.DNS if named else SubjectAltNameMatcherSanType.IP_ADDRESS
    known = CertificateValidationContext(
        trusted_ca=DataSource(filename=authorities or ssl.get_default_verify_paths().openssl_cafile),
        match_typed_subject_alt_names=[SubjectAltNameMatcher(san_type=kind, matcher=StringMatcher(exact=host))],
    )
    modern = TlsParameters(tls_minimum_protocol_version=TlsParametersTlsProtocol.TLSv1_2)
    common = CommonTlsContext(tls_params=modern, validation_context=known)
    return UpstreamTlsContext(common_tls_context=common, sni=host if named else "")
