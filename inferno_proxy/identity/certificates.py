"""The certificates that a proxy shows: the operator's on its public port, its own on its mesh port and to nodes."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping

from inferno_proxy.events import EventLog
from inferno_proxy.identity.proxy_identity import ProxyIdentity
from inferno_proxy.identity.served import Files, ServedCertificate
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.layout import Layout
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import MeshName, Role
from inferno_runtime.identity.secrets import write_secrets

_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class Certificates:
    """What ``settings`` ask for, in the folders of ``layout``.

    ``served``: the public port speaks TLS. ``own``: the proxy has an identity, since it has a mesh port or a CA.

    Raises:
        InvalidInput: The CA cannot be used, or the mesh's name is none.
    """

    def __init__(self, settings: ProxySettings, layout: Layout, clock: Clock) -> None:
        self.served: ServedCertificate | None = None
        self.own: ProxyIdentity | None = None
        self._folder = IdentityFolder(layout.identity)
        if settings.tls_certificate is not None and settings.tls_key is not None:
            files = Files(settings.tls_certificate, settings.tls_key, settings.client_ca)
            self.served = ServedCertificate(files, IdentityFolder(layout.served), clock)
        kept = AuthorityFolder(layout.authority)
        if settings.mesh_port or kept.exists:
            authority = kept.open_or_create(settings.trust_domain, clock.wall())
            host = _NO_NAME.sub("-", socket.gethostname())[:128].strip("-.") or "proxy"
            name = MeshName(settings.trust_domain, Role.PROXY, host)
            hosts = (settings.mesh_host, "localhost", host, *settings.mesh_names) if settings.mesh_port else ()
            self.own = ProxyIdentity(authority, self._folder, name, hosts, clock, settings.certificate_lifetime)

    def prepare(self) -> None:
        """Have the folders filled before Envoy reads them.

        Raises:
            InvalidInput: What the operator gave is no good; the sentence names the file.
        """
        try:
            if self.served is not None:
                self.served.take()
            if self.own is not None:
                self.own.renew()
                write_secrets(self._folder)
        except OSError as error:
            raise InvalidInput(
                f"Certificates cannot be kept in {error.filename}: {error.strerror}.",
                reason="FOLDER_UNWRITABLE",
                fix="Give a folder of this user's with --data-dir.",
            ) from error

    def ends(self) -> Mapping[str, float]:
        """When each certificate in use ends, as Unix time by what it is for: ``public``, ``proxy``, ``authority``."""
        shown = {"public": self.served.ends} if self.served is not None and self.served.ends else {}
        return {**shown, **(self.own.ends if self.own is not None else {})}

    async def run(self, events: EventLog) -> None:
        """Keep both as they should be until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self.served is not None:
                group.create_task(self.served.run(events), name="served-certificate")
            if self.own is not None:
                group.create_task(self.own.run(), name="own-certificate")
