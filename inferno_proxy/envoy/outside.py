"""Bootstraps of data planes that somebody else runs: an Envoy, or a gRPC library, perhaps on another machine."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inferno_proxy.envoy.bootstrap import (
    IDENTITY,
    LISTEN,
    MAX_CONNECTIONS,
    PEER_CERTIFICATES,
    Json,
    assignment,
    discovery,
    limits,
)
from inferno_proxy.fleet import Address
from inferno_runtime.addresses import is_ip, parse_address
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.authority import PROXY_HOST
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import MeshName, Role
from inferno_runtime.identity.preflight import Facts, check_authority, check_identity
from inferno_runtime.identity.secrets import Secret, own_certificate, peer_authority, write_secrets

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
# Who may take which configuration (inferno_runtime/identity/permission.py); nodes let both in.
_DATA_PLANES: Mapping[str, Sequence[Role]] = {"envoy": (Role.PROXY,), "grpc": (Role.CLIENT, Role.PROXY)}


_NAMES = {"envoy": "an Envoy", "grpc": "a gRPC client"}
# Where an Envoy serves if nothing else is asked for.
HERE = Address("127.0.0.1", 10000)


@dataclass(frozen=True, slots=True)
class Outside:
    """A data plane that somebody else runs.

    ``proxies`` are asked in this order: a later one while those before it cannot be reached. ``identity`` is its
    certificate of the mesh, with which it reaches the proxies' mesh ports, and nodes. ``authority`` is a file with the
    CA of the proxies' public ports, where it reaches those over TLS. An Envoy serves at ``listen``.
    ``plaintext``: the proxies are reached without TLS, and the identity is for nodes alone.
    """

    node_id: str
    proxies: Sequence[Address]
    identity: IdentityFolder | None = None
    authority: Path | None = None
    listen: Address = HERE
    plaintext: bool = False

    @classmethod
    def checked(
        cls, proxies: Sequence[str], node_id: str, identity: Path | None, ca: Path | None, *, kind: str, now: float
    ) -> Outside:
        """What somebody asked for, looked at; ``kind`` names a data plane that has no other name, ``now`` is Unix time.

        Raises:
            InvalidInput: An address is none, a file is of no use, or the node id is not the certificate's.
        """
        addresses = [Address(*parse_address(each, "proxy")) for each in proxies]
        if ca is not None:
            ca = ca.absolute()
            check_authority(ca, now)
        if identity is None:
            return cls(node_id or f"{socket.gethostname()}-{kind}", addresses, None, ca)
        folder = IdentityFolder(identity.absolute())
        made = cls(_own_id(node_id, folder, kind, now), addresses, folder, ca)
        if kind == "envoy":
            _make_readable(folder)
        return made


def _own_id(wanted: str, folder: IdentityFolder, kind: str, now: float) -> str:
    """The node id of whoever has this identity: its name, or the one asked for if that is its own."""
    found = check_identity(folder, now)
    roles = _DATA_PLANES[kind]
    name = _data_plane(found, roles)
    if not name:
        raise InvalidInput(
            f"The certificate in {folder.path} is for {found.label}, which takes no configuration for {_NAMES[kind]}.",
            reason="NOT_A_DATA_PLANE",
            fix=f"Use one for {roles[0]}/NAME: inferno cert issue --name {roles[0]}/NAME --out DIR.",
        )
    if wanted.partition("/")[0] not in ("", name):
        raise InvalidInput(
            f"The certificate in {folder.path} is for {found.label}, so no proxy takes {wanted!r} for the node id.",
            reason="NOT_YOURS",
            fix=f"Leave --node-id out, or give {name} or {name}/ANYTHING.",
        )
    return wanted or name


def _data_plane(found: Facts, roles: Sequence[Role]) -> str:
    """The data plane's name in a certificate, empty if that is for none of these roles."""
    try:
        member = MeshName.parse(found.label)
    except InvalidInput:
        return ""
    return member.name if member.role in roles else ""


def _make_readable(folder: IdentityFolder) -> None:
    try:
        write_secrets(folder)
    except OSError as error:
        raise InvalidInput(
            f"What Envoy reads cannot be written to {folder.path}: {error.strerror}.",
            reason="FOLDER_UNWRITABLE",
            fix="Run this as the user who owns the folder.",
        ) from error


def serving_address(text: str, *, insecure: bool) -> Address:
    """Where an Envoy is to serve: on loopback, unless ``insecure``, for its port speaks no TLS.

    Raises:
        InvalidInput: BAD_ADDRESS, INSECURE_BIND.
    """
    host, port = parse_address(text, "--listen")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InvalidInput(
            f"--listen {text!r} does not begin with an IP address, and Envoy listens on no name.",
            reason="BAD_ADDRESS",
            fix=f"Write it like {HERE}.",
        ) from None
    if not loopback and not insecure:
        raise InvalidInput(
            f"The Envoy would listen on {host} without TLS.",
            reason="INSECURE_BIND",
            fix="Listen on 127.0.0.1, or say --insecure if the network in front is trusted.",
        )
    return Address(host, port)


def external_bootstrap(outside: Outside, admin: Json | None = None) -> Json:
    """An Envoy that takes its resources from the control planes of proxies.

    ``admin`` defaults to none: whoever runs that Envoy decides who may see its admin interface.
    """
    places = [
        {"priority": at, "lb_endpoints": [{"endpoint": {"address": {"socket_address": _socket(each)}}}]}
        for at, each in enumerate(outside.proxies)
    ]
    cluster: dict[str, object] = {"type": "STRICT_DNS", "load_assignment": assignment(*places), **_secured(outside)}
    if len(places) > 1:
        # One failed connection, or a control plane that stops, and the next proxy is asked for some seconds.
        cluster["outlier_detection"] = {
            "consecutive_5xx": 1,
            "interval": "1s",
            "base_ejection_time": "2s",
            "max_ejection_time": "10s",
            "max_ejection_percent": 100,
        }
    return {
        **({"admin": dict(admin)} if admin else {}),
        "node": {"id": outside.node_id, "cluster": "inferno", "metadata": _said(outside)},
        **limits(MAX_CONNECTIONS),
        **discovery(cluster),
    }


def _said(outside: Outside) -> Json:
    """What the control plane makes listeners and secrets of (:mod:`inferno_proxy.resources.elsewhere`)."""
    own = {IDENTITY: str(outside.identity.path)} if outside.identity else {}
    return {LISTEN: str(outside.listen), **own}


def _socket(address: Address) -> Json:
    return {"address": address.host, "port_value": address.port}


def _secured(outside: Outside) -> Json:
    """TLS to the proxies. A mesh port shows the name that every proxy of a mesh has; a public port shows the host."""
    identity, authority = outside.identity, outside.authority
    if outside.plaintext or (identity is None and authority is None):
        return {}
    common: dict[str, object] = {"alpn_protocols": ["h2"], "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"}}
    context: dict[str, object] = {"@type": _TLS, "common_tls_context": common}
    if identity is not None:
        common["tls_certificate_sds_secret_configs"] = [_from_file(own_certificate(identity))]
    if authority is not None:
        names = [_shown(each.host) for each in outside.proxies]
        common["validation_context"] = {
            "trusted_ca": {"filename": str(authority)},
            "match_typed_subject_alt_names": names,
        }
        if len(outside.proxies) == 1 and names[0]["san_type"] == "DNS":
            context["sni"] = outside.proxies[0].host
    elif identity is not None:
        common["combined_validation_context"] = {
            "default_validation_context": {"match_typed_subject_alt_names": [_shown(PROXY_HOST)]},
            "validation_context_sds_secret_config": _from_file(peer_authority(identity)),
        }
        context["sni"] = PROXY_HOST
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}


def _shown(host: str) -> dict[str, object]:
    return {"san_type": "IP_ADDRESS" if is_ip(host) else "DNS", "matcher": {"exact": host}}


def _from_file(secret: Secret) -> Json:
    source = {"path_config_source": {"path": str(secret.path)}, "resource_api_version": "V3"}
    return {"name": secret.name, "sds_config": source}


def grpc_bootstrap(outside: Outside) -> Json:
    """For gRPC libraries (``GRPC_XDS_BOOTSTRAP``, ``GRPC_XDS_BOOTSTRAP_CONFIG``); with an identity the client also
    reaches nodes that take TLS only.

    ``ignore_resource_deletion``: a resource that disappears keeps its last value, so a control plane that lost its
    memory fails no call. Of several servers a later one is asked while those before it cannot be reached (gRFC A71).
    """
    credentials = _credentials(outside)
    servers = [
        {
            "server_uri": str(each),
            "channel_creds": [credentials],
            "server_features": ["xds_v3", "ignore_resource_deletion"],
        }
        for each in outside.proxies
    ]
    made: dict[str, object] = {
        "xds_servers": servers,
        "node": {"id": outside.node_id, "cluster": "inferno", "locality": {}},
    }
    if outside.identity is not None:
        watched = {"plugin_name": "file_watcher", "config": _files(outside.identity, outside.identity.authority)}
        made["certificate_providers"] = {PEER_CERTIFICATES: watched}
    return made


def _credentials(outside: Outside) -> Json:
    """How a gRPC library reaches a proxy: its files are read again and again (gRFC A65)."""
    identity, authority = outside.identity, outside.authority
    if outside.plaintext:
        return {"type": "insecure"}
    if identity is not None:
        return {"type": "tls", "config": _files(identity, authority or identity.authority)}
    if authority is not None:
        return {"type": "tls", "config": {"ca_certificate_file": str(authority)}}
    return {"type": "insecure"}


def _files(identity: IdentityFolder, authority: Path) -> Json:
    """An identity as gRPC libraries read it, again and again (gRFC A29)."""
    return {
        "certificate_file": str(identity.certificate),
        "private_key_file": str(identity.key),
        "ca_certificate_file": str(authority),
        "refresh_interval": "10s",
    }
