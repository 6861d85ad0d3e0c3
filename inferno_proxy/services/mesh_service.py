"""MeshService: the operator's view of the mesh, and the operator's hand on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from inferno.mesh.v1 import mesh_service_pb2 as wire
from inferno.mesh.v1 import mesh_service_pb2_grpc as stubs
from inferno_proxy.audit import AuditLog
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Member
from inferno_proxy.identity.gate import Gate
from inferno_proxy.orders.desk import OrderDesk
from inferno_proxy.orders.order import Key, Kind, Order
from inferno_proxy.registry.registry import Registry
from inferno_proxy.routing.aliases import Alias
from inferno_proxy.services import mesh_wire as to
from inferno_proxy.services.closing import Closing
from inferno_proxy.services.health import summarize
from inferno_proxy.services.mesh_explain import Explainer
from inferno_proxy.services.mesh_orders import Desk
from inferno_proxy.services.mesh_watch import Causes, Views
from inferno_proxy.xds.clients import ClientTable
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, InvalidInput, NotFound
from inferno_runtime.identity.caller import Caller, caller_of
from inferno_runtime.identity.permission import Action

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")
Note = Callable[[str], None]

_ENTRIES = 100
_MOST_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class Mesh:
    """The parts of a control plane that operators see and move. ``named`` are the models that the settings name."""

    registry: Registry
    clients: ClientTable
    events: EventLog
    desk: OrderDesk
    audit: AuditLog
    gate: Gate
    explainer: Explainer
    clock: Clock
    closing: Closing
    named: Callable[[], Iterable[str]]
    aliases: Callable[[], Mapping[str, Alias]]


class MeshService(stubs.MeshServiceServicer):
    """Translates between the wire and the parts of the mesh; asks who calls, and notes what was done."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._views = Views(mesh.clock, mesh.closing)
        self._causes: Causes = [mesh.registry.view, mesh.desk.book]

    # ----------------------------------------------------------------------------------------------------- views

    async def ListNodes(self, request: wire.ListNodesRequest, context: Context) -> wire.ListNodesResponse:
        """Every node, by node_id."""
        self._may_read(context)
        return wire.ListNodesResponse(nodes=self._nodes())

    async def WatchNodes(
        self, request: wire.WatchNodesRequest, context: Context
    ) -> AsyncIterator[wire.WatchNodesResponse]:
        """The same, again when a node's state or an order changes."""
        self._may_read(context)
        async for nodes in self._views.watch("nodes", self._nodes, self._causes):
            yield wire.WatchNodesResponse(nodes=nodes)

    async def ListModels(self, request: wire.ListModelsRequest, context: Context) -> wire.ListModelsResponse:
        """Every model, by name."""
        self._may_read(context)
        return wire.ListModelsResponse(models=self._models())

    async def WatchModels(
        self, request: wire.WatchModelsRequest, context: Context
    ) -> AsyncIterator[wire.WatchModelsResponse]:
        """The same, again when it changes."""
        self._may_read(context)
        async for models in self._views.watch("models", self._models, self._causes):
            yield wire.WatchModelsResponse(models=models)

    async def ListEndpoints(self, request: wire.ListEndpointsRequest, context: Context) -> wire.ListEndpointsResponse:
        """Every model on every node that has it."""
        self._may_read(context)
        return wire.ListEndpointsResponse(endpoints=self._mesh.explainer.endpoints(request.model, request.node_id))

    async def WatchEndpoints(
        self, request: wire.WatchEndpointsRequest, context: Context
    ) -> AsyncIterator[wire.WatchEndpointsResponse]:
        """The same, again when shares change."""
        self._may_read(context)
        model, node_id = request.model, request.node_id
        causes = [*self._causes, self._mesh.explainer.published]

        def build() -> list[wire.EndpointView]:
            return self._mesh.explainer.endpoints(model, node_id, observed=False)

        async for endpoints in self._views.watch(("endpoints", model, node_id), build, causes):
            yield wire.WatchEndpointsResponse(endpoints=endpoints)

    async def ListClients(self, request: wire.ListClientsRequest, context: Context) -> wire.ListClientsResponse:
        """Every data plane connected now."""
        self._may_read(context)
        return wire.ListClientsResponse(clients=self._clients())

    async def WatchClients(
        self, request: wire.WatchClientsRequest, context: Context
    ) -> AsyncIterator[wire.WatchClientsResponse]:
        """The same, again when one comes, goes or answers."""
        self._may_read(context)
        async for clients in self._views.watch("clients", self._clients, [self._mesh.clients.changes]):
            yield wire.WatchClientsResponse(clients=clients)

    async def ListEvents(self, request: wire.ListEventsRequest, context: Context) -> wire.ListEventsResponse:
        """The events that are kept."""
        self._may_read(context)
        kept = [event for event in self._mesh.events.kept if request.subject in ("", event.subject)]
        return wire.ListEventsResponse(events=map(to.event_view, kept[-request.limit :] if request.limit else kept))

    async def WatchEvents(
        self, request: wire.WatchEventsRequest, context: Context
    ) -> AsyncIterator[wire.WatchEventsResponse]:
        """The events kept so far, then each new one."""
        self._may_read(context)
        async for event in self._mesh.closing.during(self._mesh.events.follow(only_new=request.only_new)):
            yield wire.WatchEventsResponse(event=to.event_view(event))

    async def Explain(self, request: wire.ExplainRequest, context: Context) -> wire.ExplainResponse:
        """Where calls go, and why."""
        self._may_read(context)
        match request.WhichOneof("subject"):
            case "model":
                return self._mesh.explainer.model(request.model)
            case "node_id":
                return self._mesh.explainer.node(request.node_id)
            case "request_id":
                return self._mesh.explainer.call(request.request_id)
            case _:
                fix = "Name a model, a node_id or a request_id."
                raise InvalidInput("Nothing to explain is named.", reason="NO_SUBJECT", fix=fix)

    # ------------------------------------------------------------------------------------------------------ acts

    async def DrainNode(self, request: wire.DrainNodeRequest, context: Context) -> wire.DrainNodeResponse:
        """Stop new work to a node."""
        member = await self._drain("DRAIN_NODE", request, context, drained=True)
        return wire.DrainNodeResponse(node=self._node(member))

    async def UndrainNode(self, request: wire.UndrainNodeRequest, context: Context) -> wire.UndrainNodeResponse:
        """Let a node take work again."""
        member = await self._drain("UNDRAIN_NODE", request, context, drained=False)
        return wire.UndrainNodeResponse(node=self._node(member))

    async def SetNodeWeight(self, request: wire.SetNodeWeightRequest, context: Context) -> wire.SetNodeWeightResponse:
        """Give a node more or fewer calls."""
        order = await self._place(context, "SET_NODE_WEIGHT", request.node_id, lambda desk: desk.weight(request))
        return wire.SetNodeWeightResponse(order=order)

    async def QuarantineNode(
        self, request: wire.QuarantineNodeRequest, context: Context
    ) -> wire.QuarantineNodeResponse:
        """Keep all calls from a node."""
        node = request.node_id
        order = await self._place(context, "QUARANTINE_NODE", node, lambda desk: desk.quarantined_node(request))
        return wire.QuarantineNodeResponse(order=order)

    async def ReleaseNode(self, request: wire.ReleaseNodeRequest, context: Context) -> wire.ReleaseNodeResponse:
        """End a node's quarantine."""
        key = Kind.NODE_QUARANTINE, request.node_id
        order = await self._release(context, "RELEASE_NODE", key, lambda desk: desk.node(request.node_id))
        return wire.ReleaseNodeResponse(order=order)

    async def SetSplit(self, request: wire.SetSplitRequest, context: Context) -> wire.SetSplitResponse:
        """Share a model's calls out."""
        order = await self._place(context, "SET_SPLIT", request.model, lambda desk: desk.split(request))
        return wire.SetSplitResponse(order=order)

    async def SetLimit(self, request: wire.SetLimitRequest, context: Context) -> wire.SetLimitResponse:
        """Bound a model's calls."""
        order = await self._place(context, "SET_LIMIT", request.model, lambda desk: desk.limit(request))
        return wire.SetLimitResponse(order=order)

    async def QuarantineModel(
        self, request: wire.QuarantineModelRequest, context: Context
    ) -> wire.QuarantineModelResponse:
        """Refuse every call of a model."""
        model = request.model
        order = await self._place(context, "QUARANTINE_MODEL", model, lambda desk: desk.quarantined_model(request))
        return wire.QuarantineModelResponse(order=order)

    async def ReleaseModel(self, request: wire.ReleaseModelRequest, context: Context) -> wire.ReleaseModelResponse:
        """End a model's quarantine."""
        key = Kind.MODEL_QUARANTINE, request.model
        order = await self._release(context, "RELEASE_MODEL", key, lambda desk: desk.model(request.model))
        return wire.ReleaseModelResponse(order=order)

    async def ListOrders(self, request: wire.ListOrdersRequest, context: Context) -> wire.ListOrdersResponse:
        """What was ordered and still holds."""
        self._may_read(context)
        held = sorted(self._mesh.desk.book.value.values(), key=lambda order: (order.at, order.key))
        return wire.ListOrdersResponse(orders=self._orders(held))

    async def ClearOrders(self, request: wire.ClearOrdersRequest, context: Context) -> wire.ClearOrdersResponse:
        """Take orders back."""

        async def work(caller: Caller, note: Note) -> list[Order]:
            if not request.subject and not request.all:
                raise InvalidInput(
                    "No subject is named.", reason="NO_SUBJECT", fix="Name a node or a model, or say all."
                )
            kinds = {to.KIND_FROM_WIRE.get(number) for number in request.kinds}
            keys = [
                key
                for key in self._mesh.desk.book.value
                if request.subject in ("", key[1]) and (not kinds or key[0] in kinds)
            ]
            if request.subject and not keys:
                raise _no_order(request.subject)
            listed = ", ".join(f"{kind.value} of {subject}" for kind, subject in keys)
            return await self._mesh.desk.clear(keys, str(caller), lambda: note(listed))

        gone = await self._act(context, "CLEAR_ORDERS", request.subject or "*", work)
        return wire.ClearOrdersResponse(orders=self._orders(gone))

    async def ListAudit(self, request: wire.ListAuditRequest, context: Context) -> wire.ListAuditResponse:
        """Who did what."""
        self._mesh.gate.admit(caller_of(context), Action.OPERATE, "", "LIST_AUDIT")
        limit = min(request.limit or _ENTRIES, _MOST_ENTRIES)
        entries = await asyncio.to_thread(
            self._mesh.audit.newest, request.subject, request.caller, limit, refused=request.refused
        )
        return wire.ListAuditResponse(entries=map(to.audit_view, entries))

    # ------------------------------------------------------------------------------------------------------------

    def _may_read(self, context: Context) -> None:
        self._mesh.gate.admit(caller_of(context), Action.READ)

    async def _act(
        self, context: Context, action: str, subject: str, work: Callable[[Caller, Note], Awaitable[T]]
    ) -> T:
        """Do something, if the caller may; ``work`` is to note it before it takes effect, a refusal is noted here.

        Raises:
            Unauthenticated: Nobody knows who calls.
            Denied: The caller may not operate the mesh.
            InfernoError: What ``work`` raises.
        """
        caller = caller_of(context)
        self._mesh.gate.admit(caller, Action.OPERATE, subject, action)
        try:
            return await work(caller, lambda detail: self._mesh.audit.write(caller, action, subject, detail))
        except InfernoError as error:
            self._mesh.audit.refused(caller, action, subject, error)
            raise

    async def _drain(
        self, action: str, request: wire.DrainNodeRequest | wire.UndrainNodeRequest, context: Context, *, drained: bool
    ) -> Member:
        async def work(caller: Caller, note: Note) -> Member:
            self._mesh.registry.member(request.node_id)
            ends = self._desk(caller).end(request) if isinstance(request, wire.DrainNodeRequest) else None
            note(request.reason)
            return self._mesh.registry.drain(request.node_id, drained=drained, ends=ends)

        return await self._act(context, action, request.node_id, work)

    async def _place(self, context: Context, action: str, subject: str, read: Callable[[Desk], Order]) -> wire.Order:
        async def work(caller: Caller, note: Note) -> Order:
            order = read(self._desk(caller))
            return await self._mesh.desk.place(order, lambda: note(_detail(order)))

        return self._order(await self._act(context, action, subject, work))

    async def _release(
        self, context: Context, action: str, key: Key, known: Callable[[Desk], object]
    ) -> wire.Order | None:
        async def work(caller: Caller, note: Note) -> list[Order]:
            if key not in self._mesh.desk.book.value:
                known(self._desk(caller))
            return await self._mesh.desk.clear([key], str(caller), lambda: note(""))

        gone = await self._act(context, action, key[1], work)
        return self._order(gone[0]) if gone else None

    def _desk(self, caller: Caller) -> Desk:
        mesh = self._mesh
        return Desk(mesh.registry.view.value, frozenset(mesh.named()), mesh.aliases(), caller, mesh.clock.wall())

    def _nodes(self) -> list[wire.NodeView]:
        return [self._node(member) for member in self._mesh.registry.members()]

    def _node(self, member: Member) -> wire.NodeView:
        node_id, now = member.node.node_id, self._mesh.clock.monotonic()
        applied = self._mesh.registry.applied_revision(node_id)
        return to.node_view(member, applied, self._about(node_id, of_node=True), now)

    def _models(self) -> list[wire.ModelView]:
        found = summarize(self._mesh.registry.view.value).models
        return [to.model_view(one, self._about(name, of_node=False)) for name, one in found.items()]

    def _clients(self) -> list[wire.ClientView]:
        return [to.client_view(client) for client in self._mesh.clients.clients]

    def _about(self, subject: str, *, of_node: bool) -> list[wire.Order]:
        book = self._mesh.desk.book.value
        if not book:
            return []
        keys = [(kind, subject) for kind in Kind if kind.of_node is of_node]
        return [to.order_view(book[key], idle=False) for key in keys if key in book]

    def _orders(self, orders: Iterable[Order]) -> list[wire.Order]:
        members = self._mesh.registry.view.value.members
        models = {model.name for member in members.values() for model in member.node.models} | {"*"}
        return [to.order_view(order, idle=_idle(order, members, models)) for order in orders]

    def _order(self, order: Order) -> wire.Order:
        return self._orders([order])[0]


def _idle(order: Order, members: Container[str], models: Container[str]) -> bool:
    if order.kind is Kind.CAP:
        return bool(order.patch["model"]) and order.patch["model"] not in models
    return order.subject not in (members if order.kind.of_node else models)


def _detail(order: Order) -> str:
    why = f" ({order.reason})" if order.reason else ""
    until = f", for {order.expires - order.at:g} s" if order.expires is not None else ""
    return f"{order.what()}{until}{why}"


def _no_order(subject: str) -> NotFound:
    return NotFound(f"No order is about {subject[:128]!r}.", reason="UNKNOWN_ORDER", fix="See: inferno mesh orders.")
