"""Nodes that claim what is not theirs: a name that is taken, an old life, an address that has a new owner: row 26."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from benchmarks.cloud import Cloud, CloudError, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.upstream import relay
from benchmarks.faults.view import RECOVERY, after, mesh_of, settled
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.registration.v1 import node_pb2, registration_service_pb2_grpc
from inferno.registration.v1 import registration_service_pb2 as wire

_BORN = 1_000


class Speaker:
    """A registration stream, as an agent holds it; it beats until it is told to be silent."""

    def __init__(self, channel: grpc.aio.Channel, node_id: str, address: str, model: str, incarnation: int) -> None:
        self._stub = registration_service_pb2_grpc.RegistrationServiceStub(channel)
        ready = node_pb2.ModelVersion(version="1", state=node_pb2.MODEL_STATE_READY)
        self._node = node_pb2.Node(
            node_id=node_id,
            incarnation=incarnation,
            grpc_address=address,
            models=[node_pb2.Model(name=model, versions=[ready])],
            condition=node_pb2.NODE_CONDITION_SERVING,
        )
        self.speaks = asyncio.Event()
        self.speaks.set()
        self._call = self._stub.Register(self._words())

    async def _words(self) -> AsyncIterator[wire.RegisterRequest]:
        yield wire.RegisterRequest(node=self._node, revision=1)
        while True:
            await asyncio.sleep(0.5)
            await self.speaks.wait()
            yield wire.RegisterRequest()

    async def applied(self) -> None:
        """Return when every data plane has applied what it said; fails as :meth:`refusal` tells."""
        async with asyncio.timeout(RECOVERY):
            async for response in self._call:
                if response.applied_revision:
                    return
        raise CloudError(f"the stream of {self._node.node_id} ended without an error")

    async def refusal(self) -> grpc.StatusCode:
        """Why the stream ended."""
        try:
            async with asyncio.timeout(RECOVERY):
                async for _ in self._call:
                    pass
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async def leave(self) -> None:
        """End the stream and say goodbye: later rows are to find no node of this one."""
        self._call.cancel()
        request = wire.DeregisterRequest(node_id=self.node_id, incarnation=self._node.incarnation)
        await self._stub.Deregister(request, timeout=5)

    @property
    def node_id(self) -> str:
        """Who it says it is."""
        return self._node.node_id


async def false_claims(cloud: Cloud, path: Route) -> Measured:
    """Row 26: a node's name, its old life, and its address, each claimed by another.

    ``recovered``: from the new owner's first word until no data plane sends the address the old owner's model.
    """
    return await _claimed(cloud, path, told=True)


async def address_reused_untold(cloud: Cloud, path: Route) -> Measured:
    """Control of row 26: the address's new owner tells nobody."""
    return await _claimed(cloud, path, told=False)


async def _claimed(cloud: Cloud, path: Route, *, told: bool) -> Measured:
    async with mesh_of(cloud) as view, _channel(cloud) as channel:
        await settled(cloud, view)
        real = min(one.node.grpc_address for one in (await view.nodes()).values())
        async with relay(real) as (owner, address), relay(real) as (impostor, elsewhere):
            impostor.fails = lambda: True
            old = Speaker(channel, "owner", address, "whoami", _BORN)
            await old.applied()
            async with load(path.target, env=path.env) as running:
                async with asyncio.timeout(RECOVERY):
                    await owner.called.wait()
                twin = await Speaker(channel, "owner", elsewhere, "whoami", _BORN).refusal()
                zombie = await Speaker(channel, "owner", elsewhere, "whoami", _BORN - 1).refusal()
                shown = (await view.nodes())["owner"].node.grpc_address
                # The old owner goes silent, and another model's server gets its address.
                old.speaks.clear()
                owner.status, owner.fails = grpc.StatusCode.NOT_FOUND, lambda: True
                since = time.monotonic()
                heir = Speaker(channel, "heir", address, "another", _BORN + 1) if told else None
                if heir is not None:
                    await heir.applied()
                applied = time.monotonic()
                await asyncio.sleep(1)
                # The zombie wakes: its word counts less than the heir's.
                old.speaks.set()
                report = await after(running, 2)
            phase = (await view.nodes())["owner"].phase
        left = [each for each in (old, heir) if each is not None]
        for each in left:
            await each.leave()
        await view.until(lambda nodes: not nodes.keys() & {each.node_id for each in left}, RECOVERY, "they have left")
    # An answer under way when the heir's word was applied may still come.
    wrong = sum(at > applied + 0.05 for at in owner.failures) + len(impostor.failures)
    if told:
        report.failed += wrong
        expected = (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.FAILED_PRECONDITION)
        if (twin, zombie) != expected or shown != address or phase != mesh.NODE_PHASE_FAILED:
            raise CloudError(f"twin {twin}, zombie {zombie}, shown at {shown}, old owner {mesh.NodePhase.Name(phase)}")
    note = f"twin {twin.name}, zombie {zombie.name}, {wrong} calls to the wrong server"
    return Measured(report, recovered=applied - since, note=note)


@asynccontextmanager
async def _channel(cloud: Cloud) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(cloud.endpoint, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield channel
