"""What an operator may choose about a proxy's ports: where they listen, and how whoever comes is known."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pydantic

from inferno_proxy.fleet import Address
from inferno_proxy.routing.access import Client, TokenRules
from inferno_proxy.routing.access_settings import ClientName, ClientSettings, JwtSettings, doubts
from inferno_runtime.addresses import is_ip
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.names import MeshName, Role, is_host
from inferno_runtime.settings import ProcessSettings, option, split_commas


class DoorSettings(ProcessSettings):
    """The part of :class:`inferno_proxy.settings.ProxySettings` that the ports are about."""

    port: int = option(8080, help="Public port; 0 picks a free one.", ge=0, le=65535, metavar="PORT")
    host: str = option("127.0.0.1", help="Address the public port listens on.", metavar="IP")
    insecure: bool = option(default=False, help="Allow an address other than loopback without TLS and authentication.")
    tls_certificate: Path | None = option(
        None, help="Certificate of the public port, with those that lead to its CA (PEM).", metavar="FILE"
    )
    tls_key: Path | None = option(None, help="Its key (PEM, mode 0600).", metavar="FILE")
    client_ca: Path | None = option(
        None, help="CA of the certificates by which clients of the public port are known (PEM).", metavar="FILE"
    )
    clients: Mapping[ClientName, ClientSettings] = option(
        {}, help="Who may call the public port by key or token, and what.", live=True
    )
    jwt: JwtSettings | None = option(None, help="How tokens (JWT) of clients are verified.", live=True)
    mesh_port: int = option(
        0,
        help="Port for members of the mesh, over TLS with its certificates; 0: none.",
        ge=0,
        le=65535,
        metavar="PORT",
    )
    mesh_host: str = option("127.0.0.1", help="Address the mesh port listens on.", metavar="IP")
    mesh_names: Annotated[tuple[str, ...], pydantic.BeforeValidator(split_commas)] = option(
        (),
        help="Names and addresses that gRPC clients dial the mesh port by, for its certificate.",
        metavar="NAME,NAME",
    )
    trust_domain: str = option(
        "inferno", help="The mesh's name in its members' certificates: spiffe://NAME/ROLE/MEMBER.", metavar="NAME"
    )
    certificate_lifetime: float = option(
        86_400.0,
        help="How long a member's certificate is valid; it is renewed at half of that.",
        ge=60,
        le=90 * 86_400,
        metavar="SECONDS",
    )

    @pydantic.field_validator("host", "mesh_host")
    @classmethod
    def _host_is_an_address(cls, host: str) -> str:
        if not is_ip(host):
            raise ValueError("it must be an IP address of this machine, such as 127.0.0.1 or 0.0.0.0")
        return host

    @pydantic.field_validator("mesh_names")
    @classmethod
    def _mesh_names_are_hosts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not is_host(name):
                raise ValueError(f"{name!r} is neither a DNS name nor an IP address (give no port)")
        return names

    @pydantic.field_validator("trust_domain")
    @classmethod
    def _trust_domain_is_one(cls, domain: str) -> str:
        try:
            return MeshName(domain, Role.PROXY, "proxy").domain
        except InvalidInput as error:
            raise ValueError(error.sentence()) from None

    @pydantic.model_validator(mode="after")
    def _certificates_are_whole(self) -> DoorSettings:
        if (self.tls_certificate is None) is not (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: give both")
        if self.client_ca is not None and self.tls_certificate is None:
            raise ValueError("client_ca needs tls_certificate and tls_key: certificates are shown over TLS only")
        if self.mesh_port and self.mesh_port == self.port:
            raise ValueError(f"mesh_port is {self.port}, as is the public port: choose another")
        return self

    @pydantic.model_validator(mode="after")
    def _clients_can_be_told_apart(self) -> DoorSettings:
        for why in doubts(self.clients, self.jwt):
            raise ValueError(why)
        return self

    @property
    def mesh(self) -> Address | None:
        """The port for members of the mesh; None without one."""
        return Address(self.mesh_host, self.mesh_port) if self.mesh_port else None

    @property
    def has_credentials(self) -> bool:
        """True when clients of the public port may be known by something else than a certificate."""
        return bool(self.clients) or self.jwt is not None

    @property
    def callers(self) -> tuple[Client, ...]:
        """Who may call by key or token."""
        return tuple(entry.client(name) for name, entry in self.clients.items())

    @property
    def tokens(self) -> TokenRules | None:
        """How tokens are verified; None when there are none."""
        return self.jwt.rules() if self.jwt else None

    @property
    def authenticates(self) -> bool:
        """True when the public port asks its clients who they are."""
        return self.client_ca is not None or self.has_credentials

    @property
    def loopback(self) -> bool:
        """True when only this machine can reach the public port."""
        return ipaddress.ip_address(self.host).is_loopback

    def refuse_exposure(self) -> None:
        """Hold the public port on loopback unless it is protected or the operator insists.

        Raises:
            InvalidInput: The address is not loopback, TLS or authentication is missing, and ``insecure`` is not set.
        """
        if self.loopback or self.insecure:
            return
        missing = {
            "TLS": ("--tls-certificate and --tls-key", self.tls_certificate is not None),
            "authentication": ("proxy.clients, proxy.jwt or --client-ca", self.authenticates),
        }
        lacking = {what: how for what, (how, there) in missing.items() if not there}
        if lacking:
            raise InvalidInput(
                f"The public port would listen on {self.host} without {' and '.join(lacking)}.",
                reason="INSECURE_BIND",
                fix=f"Give {' and '.join(lacking.values())}, listen on 127.0.0.1, or say --insecure if the network in "
                "front is trusted.",
            )
