"""What a node's own certificate says: in which mesh it is, and whether it has ended."""

from __future__ import annotations

from cryptography import x509

from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import MeshName, Role
from inferno_runtime.identity.preflight import Facts, facts, moment


def mesh_of(identity: IdentityFolder, node_id: str) -> str:
    """The trust domain that a node's certificate is for.

    Raises:
        InvalidInput: It cannot be read, or is not this node's.
    """
    found = _facts(identity)
    name = MeshName.parse(found.label)
    if (name.role, name.name) != (Role.NODE, node_id):
        raise InvalidInput(
            f"The certificate in {identity.path} is of {found.label}, and this node is called {node_id!r}.",
            reason="OTHER_IDENTITY",
            fix=f"Start it with --node-id {name.name}, or remove the folder and join the mesh again."
            if name.role is Role.NODE
            else "Remove the folder and join the mesh again.",
        )
    return name.domain


def expired(identity: IdentityFolder, now: float) -> str:
    """Why peers refuse the node, in a sentence, once its certificate has ended, else empty; ``now`` in Unix seconds."""
    try:
        found = _facts(identity)
    except InvalidInput as error:
        return error.message
    if now < found.not_after:
        return ""
    return f"The certificate of {found.label} expired {moment(found.not_after)}: peers refuse new connections."


def _facts(identity: IdentityFolder) -> Facts:
    try:
        return facts(x509.load_pem_x509_certificate(identity.certificate.read_bytes()))
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"The certificate {identity.certificate} cannot be read: {error}.",
            reason="BAD_IDENTITY",
            fix="Remove the folder and join the mesh again.",
        ) from error
