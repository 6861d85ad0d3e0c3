"""Members of a mesh for tests: identities from one CA, valid now, and what they are let in to."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import aiohttp

from inferno_runtime.identity.authority import Authority
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.secrets import write_secrets
from tests.certificates import authority, identity, issued


def mesh_authority() -> Authority:
    """A CA that is valid now."""
    return authority(time.time())


def identified(folder: Path, by: Authority, name: str, *hosts: str, ends_in: float = 3600.0) -> IdentityFolder:
    """The identity of ``role/name`` in a folder, in the place of the one there; it ends ``ends_in`` seconds from now,
    or has ended that long ago."""
    now = time.time()
    # Nothing is issued for less than no time: one that has ended was issued a day ago.
    born = now if ends_in > 0 else now - 86_400
    made = identity(folder, by, issued(by, name, *hosts, now=born, seconds=now + ends_in - born))
    write_secrets(made)
    return made


def trusting(identity: IdentityFolder | None) -> ssl.SSLContext:
    """TLS as a member of the mesh, or as nobody, that takes whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


async def ready(address: str, identity: IdentityFolder | None, name: str = "magika") -> bool:
    """Whether a node lets a member of the mesh, or nobody's, ask for a model, and has it ready."""
    async with aiohttp.ClientSession(f"https://{address}") as session:
        try:
            async with session.get(f"/v2/models/{name}/ready", ssl=trusting(identity)) as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False
