"""The state of a mesh on one screen: models, nodes, data planes, what is wrong, and dollars per hour."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from google.protobuf import timestamp_pb2

from inferno.health.v1 import health_service_pb2 as health
from inferno.health.v1 import health_service_pb2_grpc as health_grpc
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_grpc
from inferno_cli import endpoint as public
from inferno_cli import output
from inferno_cli.output import Column


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node: its address, phase (``serving``, ``draining``, ...), work waiting and executing, and dollars per hour
    (micros). None: it tells no load."""

    id: str
    phase: str
    address: str
    models: tuple[str, ...]
    queued: int | None
    price_micros_per_hour: int
    source: str
    since: str
    reason: str
    executing: float | None = None


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model over the fleet: ``serving``, ``degraded`` or ``not_serving``, on ``nodes`` of ``of`` nodes."""

    name: str
    status: str
    nodes: int
    of: int
    versions: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class DataPlane:
    """One Envoy or gRPC client, and the state of each resource type it takes: ``synced``, ``pending``, ``nacked``."""

    id: str
    dialect: str
    sync: dict[str, str]
    reason: str


@dataclass(frozen=True, slots=True)
class MeshState:
    """Everything ``inferno status`` shows."""

    endpoint: str
    status: str
    models: tuple[ModelState, ...]
    nodes: tuple[NodeState, ...]
    data_planes: tuple[DataPlane, ...]
    cost_micros_per_hour: int
    problems: tuple[str, ...]
    orders: tuple[str, ...] = ()


async def ask(endpoint: public.Endpoint, timeout: float) -> MeshState:
    """Ask the mesh for its state.

    Raises:
        Unavailable: Nobody answers there.
    """
    async with public.connected(endpoint) as channel:
        operator = mesh_grpc.MeshServiceStub(channel)
        report, nodes, models, clients = await asyncio.gather(
            health_grpc.HealthServiceStub(channel).GetHealth(health.GetHealthRequest(), timeout=timeout),
            operator.ListNodes(mesh.ListNodesRequest(), timeout=timeout),
            operator.ListModels(mesh.ListModelsRequest(), timeout=timeout),
            operator.ListClients(mesh.ListClientsRequest(), timeout=timeout),
        )
    return state_of(str(endpoint), report.report, nodes.nodes, models.models, clients.clients)


def state_of(
    endpoint: str,
    report: health.HealthReport,
    nodes: Iterable[mesh.NodeView],
    models: Iterable[mesh.ModelView],
    clients: Iterable[mesh.ClientView],
) -> MeshState:
    """Join the answers into one value."""
    listed, served = tuple(nodes), tuple(models)
    versions = {one.model: tuple(one.ready_versions) for one in served}
    model_states = tuple(
        ModelState(
            name=one.model,
            status=_word(health.ServingStatus.Name(one.status), "SERVING_STATUS_"),
            nodes=one.serving_nodes,
            of=one.total_nodes,
            versions=versions.get(one.model, ()),
            reason=one.reason,
        )
        for one in report.models
    )
    node_states = tuple(_node(one) for one in listed)
    planes = tuple(_data_plane(one) for one in clients)
    return MeshState(
        endpoint=endpoint,
        status=_word(health.ServingStatus.Name(report.status), "SERVING_STATUS_"),
        models=model_states,
        nodes=node_states,
        data_planes=planes,
        cost_micros_per_hour=sum(one.price_micros_per_hour for one in node_states),
        problems=tuple(_problems(model_states, node_states, planes)),
        orders=tuple(
            [_order(order) for view in listed for order in view.orders]
            + [_order(order) for one in served for order in one.orders]
        ),
    )


def _node(view: mesh.NodeView) -> NodeState:
    return NodeState(
        id=view.node.node_id,
        phase=_word(mesh.NodePhase.Name(view.phase), "NODE_PHASE_"),
        address=view.node.grpc_address,
        models=tuple(model.name for model in view.node.models),
        queued=sum(load.queued for load in view.load.models) if view.HasField("load") else None,
        executing=sum(load.executing for load in view.load.models) if view.HasField("load") else None,
        price_micros_per_hour=view.node.price_micros_per_hour,
        source=_word(mesh.NodeSource.Name(view.source), "NODE_SOURCE_"),
        since=_moment(view.since),
        reason=view.reason,
    )


def _order(order: mesh.Order) -> str:
    why = f" ({order.reason})" if order.reason else ""
    until = f" until {_moment(order.expires)}" if order.HasField("expires") else ""
    return f"{order.subject}: {order.summary}{until}, ordered by {order.by}{why}"


def _data_plane(view: mesh.ClientView) -> DataPlane:
    return DataPlane(
        id=view.client_id,
        dialect=view.dialect,
        sync={one.type: _word(mesh.SyncState.Name(one.state), "SYNC_STATE_") for one in view.types},
        reason="; ".join(f"{one.type}: {one.reason}" for one in view.types if one.reason),
    )


def _moment(stamp: timestamp_pb2.Timestamp) -> str:
    return f"{stamp.ToDatetime():%Y-%m-%dT%H:%M:%SZ}" if stamp.seconds else ""


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _problems(models: Sequence[ModelState], nodes: Sequence[NodeState], planes: Sequence[DataPlane]) -> Iterable[str]:
    if not nodes:
        yield "No node is registered. Start one: inferno backend --discovery-lb HOST:PORT."
    for node in nodes:
        if node.phase != "serving":
            yield f"Node {node.id} is {node.phase}: {node.reason or 'no reason given'}"
    for model in models:
        if model.status != "serving":
            yield f"Model {model.name} is {model.status.replace('_', ' ')}: {model.reason or 'no reason given'}"
    for plane in planes:
        if "nacked" in plane.sync.values():
            yield f"Data plane {plane.id} refused its configuration and runs the one before: {plane.reason}"


_COLOURS = {"serving": "green", "degraded": "yellow", "draining": "yellow", "unmanaged": "yellow", "synced": "green"}


def _colour(word: Any) -> str | None:
    return _COLOURS.get(str(word), "red")


def _names(names: Sequence[str]) -> str:
    return ",".join(names) or "-"


def _mean(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"


_MODELS = (
    Column("name", "MODEL"),
    Column("status", "STATUS", colour=_colour),
    Column("on", "NODES", right=True),
    Column("versions", "VERSIONS", show=_names),
)
_NODES = (
    Column("id", "NODE"),
    Column("phase", "PHASE", colour=_colour),
    Column("address", "ADDRESS"),
    Column("queued", "QUEUED", right=True),
    Column("executing", "RUNNING", show=_mean, right=True),
    Column("price_micros_per_hour", "$/HOUR", show=output.money, right=True),
    Column("source", "SOURCE"),
    Column("models", "MODELS", show=_names),
)


def show(state: MeshState, form: output.Format) -> None:
    """Print the state, as one screen or as JSON."""
    document = asdict(state)
    if form == "json":
        output.print_json(document)
        return
    planes = [
        f"{one.id} ({', '.join(f'{kind} {word}' for kind, word in one.sync.items())})" for one in state.data_planes
    ]
    output.print_line(
        f"{state.endpoint} is {state.status.replace('_', ' ')}, {output.money(state.cost_micros_per_hour)} per hour"
    )
    if planes:
        output.print_line(f"data plane: {'; '.join(planes)}")
    if state.models:
        output.print_line("")
        output.print_table(_MODELS, [{**one, "on": f"{one['nodes']}/{one['of']}"} for one in document["models"]])
    if state.nodes:
        output.print_line("")
        output.print_table(_NODES, document["nodes"])
    for at, order in enumerate(state.orders):
        output.print_line(("\n" if at == 0 else "") + f"* {order}")
    for at, problem in enumerate(state.problems):
        output.print_line(("\n" if at == 0 else "") + f"! {problem}")
