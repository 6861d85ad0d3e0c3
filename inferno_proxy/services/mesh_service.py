"""MeshService: the operator's view of the mesh, and the operator's hand on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from inferno.mesh.v1 import mesh_service_pb2 as wire
from inferno.mesh.v1 import mesh_service_pb2_grpc as stubs
from inferno_proxy.events import Event, EventLog
from inferno_proxy.fleet import Member, Phase, Source
from inferno_proxy.publishing.snapshot import ResourceType
from inferno_proxy.registry.registry import Registry
from inferno_proxy.services.closing import Closing
from inferno_proxy.services.health import summarize
from inferno_proxy.services.node_wire import loads_to_wire, node_to_wire
from inferno_proxy.xds.clients import Client, ClientTable, SyncState
from inferno_runtime.clock import Clock

Context = grpc.aio.ServicerContext[Any, Any]

_PHASE = {
    Phase.SERVING: wire.NODE_PHASE_SERVING,
    Phase.DRAINING: wire.NODE_PHASE_DRAINING,
    Phase.UNMANAGED: wire.NODE_PHASE_UNMANAGED,
    Phase.FAILED: wire.NODE_PHASE_FAILED,
}
_SOURCE = {
    Source.AGENT: wire.NODE_SOURCE_AGENT,
    Source.ANNOUNCED: wire.NODE_SOURCE_ANNOUNCED,
    Source.STATIC: wire.NODE_SOURCE_STATIC,
    Source.FILE: wire.NODE_SOURCE_FILE,
    Source.KUBERNETES: wire.NODE_SOURCE_KUBERNETES,
}
_SYNC = {
    SyncState.UNKNOWN: wire.SYNC_STATE_UNSPECIFIED,
    SyncState.SYNCED: wire.SYNC_STATE_SYNCED,
    SyncState.PENDING: wire.SYNC_STATE_PENDING,
    SyncState.NACKED: wire.SYNC_STATE_NACKED,
}
_SHORT = {kind.value: kind.short for kind in ResourceType}


class MeshService(stubs.MeshServiceServicer):
    """Translates between the wire, the registry and the table of data planes."""

    def __init__(
        self, registry: Registry, clients: ClientTable, events: EventLog, clock: Clock, closing: Closing
    ) -> None:
        self._registry = registry
        self._clients = clients
        self._events = events
        self._clock = clock
        self._closing = closing

    async def ListNodes(self, request: wire.ListNodesRequest, context: Context) -> wire.ListNodesResponse:
        """Every node, by node_id."""
        return wire.ListNodesResponse(nodes=[self._node(member) for member in self._registry.members()])

    async def ListModels(self, request: wire.ListModelsRequest, context: Context) -> wire.ListModelsResponse:
        """Every model, by name."""
        return wire.ListModelsResponse(
            models=[
                wire.ModelView(
                    model=one.name,
                    ready_versions=one.ready_versions,
                    serving_nodes=one.serving,
                    other_nodes=one.others,
                    stateful=one.stateful,
                    decoupled=one.decoupled,
                )
                for one in summarize(self._registry.view.value).models.values()
            ]
        )

    async def ListClients(self, request: wire.ListClientsRequest, context: Context) -> wire.ListClientsResponse:
        """Every data plane connected now."""
        return wire.ListClientsResponse(clients=[_client(client) for client in self._clients.clients])

    async def DrainNode(self, request: wire.DrainNodeRequest, context: Context) -> wire.DrainNodeResponse:
        """Stop new work to a node."""
        return wire.DrainNodeResponse(node=self._node(self._registry.drain(request.node_id)))

    async def UndrainNode(self, request: wire.UndrainNodeRequest, context: Context) -> wire.UndrainNodeResponse:
        """Let a node take work again."""
        return wire.UndrainNodeResponse(node=self._node(self._registry.drain(request.node_id, drained=False)))

    async def WatchEvents(
        self, request: wire.WatchEventsRequest, context: Context
    ) -> AsyncIterator[wire.WatchEventsResponse]:
        """The events kept so far, then each new one."""
        async for event in self._closing.during(self._events.follow(only_new=request.only_new)):
            yield wire.WatchEventsResponse(event=_event(event))

    def _node(self, member: Member) -> wire.NodeView:
        view = wire.NodeView(
            node=node_to_wire(member.node),
            phase=_PHASE[member.phase],
            reason=member.reason,
            source=_SOURCE[member.source],
            applied_revision=self._registry.applied_revision(member.node.node_id),
        )
        view.since.FromNanoseconds(int(member.since * 1e9))
        if member.load is not None:
            view.load.CopyFrom(loads_to_wire(member.load.models))
            view.load_age.FromNanoseconds(int((self._clock.monotonic() - member.load.at) * 1e9))
        return view


def _client(client: Client) -> wire.ClientView:
    view = wire.ClientView(client_id=client.client_id, dialect=client.dialect.value)
    view.connected.FromNanoseconds(int(client.connected * 1e9))
    for url, status in client.types.items():
        entry = view.types.add(
            type=_SHORT.get(url, url), state=_SYNC[status.state], version=status.version, reason=status.reason
        )
        entry.since.FromNanoseconds(int(status.since * 1e9))
    return view


def _event(event: Event) -> wire.Event:
    message = wire.Event(
        kind=event.kind,
        subject=event.subject,
        message=event.message,
        cause=event.cause,
        evidence=event.evidence,
        effect=event.effect,
    )
    message.time.FromNanoseconds(int(event.time * 1e9))
    if event.seconds is not None:
        message.duration.FromNanoseconds(int(event.seconds * 1e9))
    return message
