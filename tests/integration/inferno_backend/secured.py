"""A node without an agent: a stand-in for its model server, and the real sidecar in front of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from inferno_backend.guarded import Place
from inferno_backend.node import Endpoints
from inferno_backend.sidecar.configuration import Doors
from inferno_backend.sidecar.sidecar import Sidecar, Wanted
from inferno_proxy.fleet import Address, Member
from inferno_runtime.addresses import parse_address
from inferno_runtime.clock import SystemClock
from inferno_runtime.identity.authority import Authority
from tests.certificates import DOMAIN
from tests.integration.inferno_backend.members import identified
from tests.integration.inferno_proxy.envoy.world import Server, member, model, serving

MODELS = [model("magika")]


@dataclass
class Node:
    """A model server and the sidecar in front of it."""

    server: Server
    sidecar: Sidecar
    wanted: Wanted
    folder: Path

    @property
    def member(self) -> Member:
        """It as the fleet knows it."""
        where = self.sidecar.endpoints
        plain = member(self.server, MODELS)
        grpc_address, http_address = (Address(*parse_address(each)) for each in (where.grpc, where.http))
        node = replace(plain.node, grpc_address=grpc_address, http_address=http_address, tls=True)
        return replace(plain, node=node)


@contextlib.asynccontextmanager
async def fronted(wanted: Wanted, model_server: Endpoints, *, watched: bool = True) -> AsyncIterator[Sidecar]:
    """TLS in front of a model server. Not ``watched``: nobody starts it again."""
    sidecar = Sidecar(wanted, SystemClock())
    await sidecar.start()
    sidecar.lead_to(model_server)
    running = asyncio.create_task(sidecar.run() if watched else asyncio.sleep(0))
    try:
        yield sidecar
    finally:
        await sidecar.stop()
        await running


def wanted(folder: Path, by: Authority, name: str, *, ends_in: float = 3600.0) -> Wanted:
    """What the sidecar of ``role/name`` is to be, with its identity."""
    identity = identified(folder / "identity", by, name, ends_in=ends_in)
    return Wanted(Place(folder / "sidecar"), Doors("127.0.0.1", 0, 0), identity, DOMAIN)


@contextlib.asynccontextmanager
async def node(
    folder: Path, by: Authority, name: str, *, role: str = "node", ends_in: float = 3600.0, watched: bool = True
) -> AsyncIterator[Node]:
    """A node that takes TLS; its sidecar is ended with it."""
    asked = wanted(folder, by, f"{role}/{name}", ends_in=ends_in)
    async with serving(Server(name)) as server:
        where = Endpoints(str(server.address), str(server.http))
        async with fronted(asked, where, watched=watched) as sidecar:
            yield Node(server, sidecar, asked, folder)
