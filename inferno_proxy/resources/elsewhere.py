"""What an Envoy of another machine gets: as the proxy's own Envoy does, but at its own address and with its own files.

It says in its node's metadata where it listens and where its identity lies (:mod:`inferno_proxy.envoy.outside`). All
such Envoys share their clusters, which name secrets without saying where they are; a secret holds the paths that this
Envoy itself gave, so Envoy reads its files and follows their changes (docs/decisions/0100).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from envoy_data_plane.envoy.config.core.v3 import DataSource, WatchedDirectory
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    Secret,
    TlsCertificate,
)

from inferno_proxy.envoy.bootstrap import IDENTITY, LISTEN
from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Resource, ResourceType, Snapshot
from inferno_proxy.resources.packing import envoy_address
from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.secrets import own_certificate, peer_authority

Named = Mapping[str, Resource]
_AGAIN = "Print the bootstrap anew: inferno proxy bootstrap --envoy."


class Elsewhere:
    """One such Envoy: it serves at ``listen``, and reads its identity from the folder ``identity`` of its machine."""

    def __init__(self, listen: Address, identity: Path | None) -> None:
        self._listen = listen
        self._secrets: Named = MappingProxyType(secrets(identity) if identity else {})
        self._seen: tuple[Snapshot, Snapshot] | None = None
        self._placed: tuple[Named, Named] | None = None

    @classmethod
    def told(cls, metadata: Mapping[str, str]) -> Elsewhere | None:
        """By what an Envoy says of itself; None for one that says nothing: it runs beside its control plane.

        Raises:
            InvalidInput: BAD_ADDRESS, BAD_PATH.
        """
        listen, identity = metadata.get(LISTEN, ""), metadata.get(IDENTITY, "")
        if not listen:
            return None
        if identity and not Path(identity).is_absolute():
            raise InvalidInput(
                f"{IDENTITY} in the node's metadata is {identity[:128]!r}, which is no absolute path.",
                reason="BAD_PATH",
                fix=_AGAIN,
            )
        return cls(_address(listen), Path(identity) if identity else None)

    def seen(self, snapshot: Snapshot) -> Snapshot:
        """A snapshot as this Envoy is to see it; what did not change is the same object as before."""
        if self._seen is None or self._seen[0] is not snapshot:
            others = {**snapshot.resources, **snapshot.elsewhere, ResourceType.SECRET: self._secrets}
            others[ResourceType.LISTENER] = self._at_home(snapshot.elsewhere.get(ResourceType.LISTENER, {}))
            self._seen = snapshot, replace(snapshot, resources=MappingProxyType(others))
        return self._seen[1]

    def _at_home(self, listeners: Named) -> Named:
        if self._placed is None or self._placed[0] is not listeners:
            # Two encodings of a message, joined, are the encoding of both together.
            address = bytes(Listener(address=envoy_address(self._listen)))
            placed = {name: Resource.of(name, each.body + address) for name, each in listeners.items()}
            self._placed = listeners, MappingProxyType(placed)
        return self._placed[1]


def _address(text: str) -> Address:
    what = f"{LISTEN} in the node's metadata"
    host, port = parse_address(text, what)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise InvalidInput(
            f"{what} is {text[:128]!r}, which does not begin with an IP address.", reason="BAD_ADDRESS", fix=_AGAIN
        ) from None
    return Address(host, port)


def secrets(identity: Path) -> dict[str, Resource]:
    """The identity in a folder, by the names that clusters ask for."""
    folder = IdentityFolder(identity)
    watched = WatchedDirectory(path=str(folder.path))
    pair = TlsCertificate(
        certificate_chain=DataSource(filename=str(folder.certificate)),
        private_key=DataSource(filename=str(folder.key)),
        watched_directory=watched,
    )
    peers = CertificateValidationContext(
        trusted_ca=DataSource(filename=str(folder.authority)), watched_directory=watched
    )
    own, others = own_certificate(folder).name, peer_authority(folder).name
    made = (Secret(name=own, tls_certificate=pair), Secret(name=others, validation_context=peers))
    return {each.name: Resource.of(each.name, bytes(each)) for each in made}
