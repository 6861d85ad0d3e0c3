"""What the proxy is in the mesh, and how its control plane reaches nodes itself: by name or over TLS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509

from inferno_proxy.fleet import Address
from inferno_runtime import rpc
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.authority import NODE_HOST
from inferno_runtime.identity.channel import member_channel
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import MeshName
from inferno_runtime.identity.preflight import facts
from inferno_runtime.identity.secrets import write_secrets


@dataclass(frozen=True, slots=True)
class Membership:
    """The proxy's identity: its folder, and the trust domain its certificate is for."""

    folder: IdentityFolder
    domain: str

    @classmethod
    def read(cls, path: Path) -> Membership | None:
        """What is in the folder, made readable for Envoy; None when the proxy has no identity.

        Raises:
            InvalidInput: BAD_IDENTITY: the certificate cannot be read.
        """
        folder = IdentityFolder(path.absolute())
        if not folder.exists:
            return None
        try:
            found = facts(x509.load_pem_x509_certificate(folder.certificate.read_bytes()))
            write_secrets(folder)
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"The proxy's certificate {folder.certificate} cannot be used: {error}.",
                reason="BAD_IDENTITY",
                fix=f"Remove {folder.path}; the proxy gets another one from the mesh's CA.",
            ) from error
        return cls(folder, MeshName.parse(found.label).domain)


def dial(address: Address, *, tls: bool, member: Membership | None) -> grpc.aio.Channel:
    """A channel to a node's model server; over TLS with the certificate that is there now if the node takes nothing
    else."""
    if not tls or member is None:
        return rpc.channel(str(address))
    folder = member.folder
    own = folder.key.read_bytes(), folder.certificate.read_bytes()
    return member_channel(str(address), NODE_HOST, folder.authority.read_bytes(), *own)
