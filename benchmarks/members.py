"""Members of a mesh for scenarios and benchmarks, and TLS in front of a model server that has no agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from inferno_backend.guarded import Place
from inferno_backend.node import Endpoints
from inferno_backend.sidecar.configuration import Doors
from inferno_backend.sidecar.sidecar import Sidecar, Wanted
from inferno_runtime.clock import SystemClock
from inferno_runtime.identity.authority import Authority, Grant, KeyPair, make_authority, make_request
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import MeshName, Role

DOMAIN = "inferno"


def new_authority() -> Authority:
    """A CA of :data:`DOMAIN`."""
    return Authority.load(make_authority(DOMAIN, time.time()))


def identified(folder: Path, by: Authority, role: Role, *, ended: bool = False) -> IdentityFolder:
    """A member's identity in the place of the one there: valid for an hour, or ended a minute ago."""
    pair = certified(by, role, "bench", ended=ended)
    made = IdentityFolder(folder)
    made.write(pair.certificate, pair.key, by.trusted)
    return made


def certified(by: Authority, role: Role, name: str, *, ended: bool = False) -> KeyPair:
    """A member's new key and its certificate: valid for an hour, or ended a minute ago."""
    request, now = make_request(), time.time()
    issued = now - 3660 if ended else now
    return KeyPair(by.sign(request.csr, Grant(MeshName(DOMAIN, role, name), seconds=3600), issued), request.key)


@asynccontextmanager
async def fronted(scratch: Path, identity: IdentityFolder, model_server: str) -> AsyncIterator[Sidecar]:
    """TLS in front of a model server's gRPC address."""
    sidecar = Sidecar(Wanted(Place(scratch / "sidecar"), Doors("127.0.0.1", 0, 0), identity, DOMAIN), SystemClock())
    await sidecar.start()
    sidecar.lead_to(Endpoints(model_server))
    running = asyncio.create_task(sidecar.run())
    try:
        yield sidecar
    finally:
        await sidecar.stop()
        await running
