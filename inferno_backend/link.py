"""How the agent reaches the proxies: in the clear, or over TLS with the node's certificate."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc

from inferno_runtime import rpc
from inferno_runtime.identity.authority import PROXY_HOST
from inferno_runtime.identity.channel import member_channel
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.latest import Latest


@dataclass(frozen=True, slots=True)
class Link:
    """PEM: the node's certificate with its key, and the CAs that a proxy must be from. No CA: in the clear; no
    certificate: only the proxy shows one."""

    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)

    @classmethod
    def read(cls, folder: IdentityFolder) -> Link:
        """With the identity in ``folder``.

        Raises:
            OSError: It cannot be read.
        """
        return cls(folder.authority.read_bytes(), folder.certificate.read_bytes(), folder.key.read_bytes())

    def channel(self, proxy: str) -> grpc.aio.Channel:
        """A channel to a proxy."""
        if not self.authority:
            return rpc.channel(proxy)
        return member_channel(proxy, PROXY_HOST, self.authority, self.key, self.certificate)


PLAIN = Link()


async def joined(links: Latest[Link | None]) -> Link:
    """The way there is, or the first one there will be."""
    while True:
        link = await links.wait_for(lambda one: one is not None)
        if link is not None:
            return link
