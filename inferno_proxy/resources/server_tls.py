"""TLS that Envoy speaks to those who call: the certificate it shows, and whose certificates it takes."""

from __future__ import annotations

from functools import lru_cache

from envoy_data_plane.envoy.config.core.v3 import TransportSocket
from envoy_data_plane.envoy.config.rbac.v3 import (
    Permission,
    Policy,
    Principal,
    PrincipalAuthenticated,
    Rbac,
    RbacAction,
)
from envoy_data_plane.envoy.extensions.filters.http.rbac.v3 import Rbac as RbacFilter
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CommonTlsContext,
    DownstreamTlsContext,
    TlsParameters,
    TlsParametersTlsProtocol,
)
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher

from inferno_proxy.resources.packing import packed
from inferno_proxy.resources.peers import from_file
from inferno_proxy.resources.settings import ServerTls
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import prefix_of
from inferno_runtime.identity.secrets import own_certificate, peer_authority


def members_only(domain: str) -> HttpFilter:
    """Refuses who has a certificate of the mesh's CA that names no member of this mesh; who has none passes.

    TLS itself could ask for such a name only of everybody: a matcher of names makes Envoy require a certificate.
    """
    member = Principal(authenticated=PrincipalAuthenticated(principal_name=StringMatcher(prefix=prefix_of(domain))))
    # Without a name to match, Envoy takes every TLS connection for an authenticated one.
    named = StringMatcher(safe_regex=RegexMatcher(regex=".+"))
    nobody = Principal(not_id=Principal(authenticated=PrincipalAuthenticated(principal_name=named)))
    policy = Policy(permissions=[Permission(any=True)], principals=[member, nobody])
    rules = Rbac(action=RbacAction.ALLOW, policies={"members": policy})
    return HttpFilter(name="envoy.filters.http.rbac", typed_config=packed(RbacFilter(rules=rules)))


@lru_cache(maxsize=16)
def server_socket(tls: ServerTls) -> TransportSocket:
    """What makes TLS of a port."""
    folder = IdentityFolder(tls.folder)
    common = CommonTlsContext(
        # Source: RFC 9325, section 3.1.1; Envoy's own default is the same, for servers.
        tls_params=TlsParameters(tls_minimum_protocol_version=TlsParametersTlsProtocol.TLSv1_2),
        tls_certificate_sds_secret_configs=[from_file(own_certificate(folder))],
        alpn_protocols=["h2", "http/1.1"],
    )
    if tls.clients:
        common.validation_context_sds_secret_config = from_file(peer_authority(folder))
    context = DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate=tls.required,
        # A resumed session asks for no certificate: one that has ended would go on being good.
        disable_stateless_session_resumption=tls.clients,
        disable_stateful_session_resumption=tls.clients,
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))
