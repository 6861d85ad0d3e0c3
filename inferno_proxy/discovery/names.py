"""Host names of nodes, turned into IP addresses: data planes take nothing else."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

from inferno_proxy.fleet import Address, Node
from inferno_proxy.registry.admission import refusal
from inferno_runtime.addresses import is_ip

_PATIENCE = 2.0


async def resolve_node(node: Node) -> Node:
    """The same node with IP addresses.

    Raises:
        InvalidInput: A name does not resolve; the field is named.
    """
    grpc = await resolve_address("grpc_address", node.grpc_address)
    http = await resolve_address("http_address", node.http_address) if node.http_address else None
    if grpc is node.grpc_address and http is node.http_address:
        return node
    return replace(node, grpc_address=grpc, http_address=http)


async def resolve_address(field: str, address: Address) -> Address:
    """The same address with an IP address for a host; ``field`` names it in the error.

    Raises:
        InvalidInput: The name does not resolve.
    """
    return address if is_ip(address.host) else Address(await _lookup(field, address.host), address.port)


async def _lookup(field: str, host: str) -> str:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError, TimeoutError) as error:
        why = getattr(error, "strerror", None) or str(error) or f"no answer within {_PATIENCE:g} s"
        raise refusal(field, f"{host[:256]!r} does not resolve ({why})", "Use an IP address.") from error
    # IPv4 first: servers on a dual-stack name listen there more often than not.
    families = sorted(found, key=lambda one: one[0] is not socket.AF_INET)
    return str(families[0][4][0])
