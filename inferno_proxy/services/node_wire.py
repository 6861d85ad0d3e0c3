"""Nodes on the wire and in the fleet: protobuf messages of inferno.registration.v1 to frozen values and back."""

from __future__ import annotations

from types import MappingProxyType

from inferno.registration.v1 import node_pb2
from inferno_proxy.fleet import (
    Address,
    Hardware,
    Model,
    ModelLoad,
    ModelState,
    ModelVersion,
    Node,
    NodeCondition,
)
from inferno_proxy.registry.admission import refusal
from inferno_proxy.services.hardware_wire import hardware_from_wire, hardware_to_wire
from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import InvalidInput

_STATE_FROM_WIRE = {
    node_pb2.MODEL_STATE_READY: ModelState.READY,
    node_pb2.MODEL_STATE_LOADING: ModelState.LOADING,
    node_pb2.MODEL_STATE_UNLOADING: ModelState.UNLOADING,
    node_pb2.MODEL_STATE_UNAVAILABLE: ModelState.UNAVAILABLE,
}
_STATE_TO_WIRE = {state: number for number, state in _STATE_FROM_WIRE.items()}
_CONDITION_FROM_WIRE = {
    node_pb2.NODE_CONDITION_UNSPECIFIED: NodeCondition.SERVING,
    node_pb2.NODE_CONDITION_SERVING: NodeCondition.SERVING,
    node_pb2.NODE_CONDITION_DRAINING: NodeCondition.DRAINING,
    node_pb2.NODE_CONDITION_FAILED: NodeCondition.FAILED,
}
_CONDITION_TO_WIRE = {
    NodeCondition.SERVING: node_pb2.NODE_CONDITION_SERVING,
    NodeCondition.DRAINING: node_pb2.NODE_CONDITION_DRAINING,
    NodeCondition.FAILED: node_pb2.NODE_CONDITION_FAILED,
}


def node_from_wire(wire: node_pb2.Node, revision: int) -> Node:
    """Read a node; its host names are not resolved and its bounds not checked yet.

    Raises:
        InvalidInput: An address or a condition cannot be read; the field is named.
    """
    if wire.condition not in _CONDITION_FROM_WIRE:
        raise refusal("condition", f"{wire.condition} is not known", "Use a NodeCondition of this version.")
    return Node(
        node_id=wire.node_id,
        incarnation=wire.incarnation,
        revision=revision,
        grpc_address=_address("grpc_address", wire.grpc_address),
        http_address=_address("http_address", wire.http_address) if wire.http_address else None,
        models=tuple(model_from_wire(model) for model in wire.models),
        region=wire.region,
        zone=wire.zone,
        labels=MappingProxyType(dict(wire.labels)),
        hardware=hardware_from_wire(wire.hardware),
        price_micros_per_hour=wire.price_micros_per_hour,
        server_version=wire.server_version,
        agent_version=wire.agent_version,
        spot=wire.spot,
        condition=_CONDITION_FROM_WIRE[wire.condition],
        condition_reason=wire.condition_reason,
        tls=wire.tls,
        instance_id=wire.instance_id,
    )


def _address(field: str, text: str) -> Address:
    if not text:
        raise refusal(field, "it is missing", "Write it like 10.0.0.7:8001.")
    try:
        host, port = parse_address(text, f"node.{field}")
    except InvalidInput as error:
        raise refusal(field, f"{text[:256]!r} is not host:port", error.fix) from error
    return Address(host, port)


def model_from_wire(wire: node_pb2.Model) -> Model:
    """Read a model. A version in a state this program does not know counts as unavailable."""
    return Model(
        name=wire.name,
        versions=tuple(
            ModelVersion(each.version, _STATE_FROM_WIRE.get(each.state, ModelState.UNAVAILABLE), each.reason)
            for each in wire.versions
        ),
        stateful=wire.stateful,
        decoupled=wire.decoupled,
        max_batch_size=wire.max_batch_size,
        instance_count=wire.instance_count,
        platform=wire.platform,
        loads=wire.loads,
        load_failure=wire.load_failure,
        lost_processes=wire.lost_processes,
    )


def node_to_wire(node: Node) -> node_pb2.Node:
    """Write a node; its revision travels beside it."""
    hardware = node.hardware
    return node_pb2.Node(
        node_id=node.node_id,
        incarnation=node.incarnation,
        grpc_address=str(node.grpc_address),
        http_address=str(node.http_address or ""),
        region=node.region,
        zone=node.zone,
        labels=dict(node.labels),
        hardware=hardware_to_wire(hardware) if hardware != Hardware() else None,
        price_micros_per_hour=node.price_micros_per_hour,
        models=[model_to_wire(model) for model in node.models],
        server_version=node.server_version,
        agent_version=node.agent_version,
        spot=node.spot,
        condition=_CONDITION_TO_WIRE[node.condition],
        condition_reason=node.condition_reason,
        tls=node.tls,
        instance_id=node.instance_id,
    )


def model_to_wire(model: Model) -> node_pb2.Model:
    """Write a model."""
    return node_pb2.Model(
        name=model.name,
        versions=[
            node_pb2.ModelVersion(version=each.version, state=_STATE_TO_WIRE[each.state], reason=each.reason)
            for each in model.versions
        ],
        stateful=model.stateful,
        decoupled=model.decoupled,
        max_batch_size=model.max_batch_size,
        instance_count=model.instance_count,
        platform=model.platform,
        loads=model.loads,
        load_failure=model.load_failure,
        lost_processes=model.lost_processes,
    )


def loads_from_wire(wire: node_pb2.Load) -> tuple[ModelLoad, ...]:
    """Read a load."""
    return tuple(
        ModelLoad(m.model, m.queued, m.completed, m.failed, m.latency_micros, m.service_micros, m.executing)
        for m in wire.models
    )


def loads_to_wire(loads: tuple[ModelLoad, ...]) -> node_pb2.Load:
    """Write a load."""
    return node_pb2.Load(
        models=[
            node_pb2.ModelLoad(
                model=m.model,
                queued=m.queued,
                completed=m.completed,
                failed=m.failed,
                latency_micros=m.latency_micros,
                service_micros=m.service_micros,
                executing=m.executing,
            )
            for m in loads
        ]
    )
