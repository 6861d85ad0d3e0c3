"""Calls between members of the mesh, over TLS."""

from __future__ import annotations

import grpc

from inferno_runtime import rpc


def member_channel(
    address: str, name: str, authority: bytes, key: bytes = b"", certificate: bytes = b""
) -> grpc.aio.Channel:
    """A channel to the member that shows a certificate for the host ``name``, whatever address it is reached at.

    gRPC in Python compares host names only, so every proxy has one name of the mesh, and every node another
    (docs/decisions/0072 and 0077). The rest is PEM: the CAs to trust, and the caller's own key and certificate, if it
    has any.
    """
    credentials = grpc.ssl_channel_credentials(authority, key or None, certificate or None)
    return rpc.channel(address, [("grpc.ssl_target_name_override", name)], credentials)
