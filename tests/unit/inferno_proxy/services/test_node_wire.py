"""Nodes on the wire and back."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from inferno.registration.v1 import node_pb2
from inferno_proxy.fleet import (
    Address,
    Disk,
    Gpu,
    Hardware,
    MigInstance,
    Model,
    ModelLoad,
    ModelState,
    ModelVersion,
    Node,
    NodeCondition,
)
from inferno_proxy.services.node_wire import loads_from_wire, loads_to_wire, node_from_wire, node_to_wire
from inferno_runtime.errors import InvalidInput

FULL = Node(
    node_id="a",
    incarnation=2**63,
    grpc_address=Address("fd00::1", 8001),
    http_address=Address("10.0.0.1", 8000),
    revision=7,
    models=(
        Model(
            "m",
            tuple(ModelVersion(str(n), state, "why") for n, state in enumerate(ModelState)),
            stateful=True,
            decoupled=True,
            max_batch_size=8,
            instance_count=2,
            platform="python",
            loads=3,
            load_failure="no weights",
            lost_processes=2,
        ),
    ),
    region="r",
    zone="z",
    labels=MappingProxyType({"k": "v"}),
    hardware=Hardware(
        4,
        2**40,
        (Gpu("u", "H100", 2**36, "9.0", "00:01", 5, 16, 8, 18, True, (MigInstance("MIG-1", "1g", 2**33),)),),
        "aws",
        "p5",
        "EPYC",
        1.5,
        2**38,
        (Disk("models", "/m", 2**40, 2**39),),
        "595.84",
        "13.2",
        "One is gone.",
    ),
    price_micros_per_hour=12_500_000,
    server_version="2.51",
    agent_version="0.1",
    spot=True,
    condition=NodeCondition.DRAINING,
    condition_reason="notice",
    tls=True,
    instance_id="i-1",
)


@pytest.mark.parametrize("node", [FULL, Node("a", 1, Address("10.0.0.1", 8001))])
def test_a_node_comes_back_from_the_wire_as_it_was(node: Node) -> None:
    assert node_from_wire(node_to_wire(node), node.revision) == node


def test_an_unknown_hardware_stays_unset() -> None:
    assert not node_to_wire(Node("a", 1, Address("10.0.0.1", 8001))).HasField("hardware")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "grpc_address"),
        ({"grpc_address": "nowhere"}, "grpc_address"),
        ({"grpc_address": "h:1", "http_address": "h:0"}, "http_address"),
        ({"grpc_address": "h:1", "condition": 99}, "condition"),
    ],
)
def test_what_cannot_be_read_is_named(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        node_from_wire(node_pb2.Node(node_id="a", **fields), 1)  # type: ignore[arg-type]
    assert refused.value.metadata["field"] == field


def test_a_state_of_a_later_protocol_counts_as_unavailable() -> None:
    wire = node_pb2.Node(node_id="a", grpc_address="h:1")
    wire.models.add(name="m").versions.add(version="1", state=99)
    assert node_from_wire(wire, 1).models[0].versions[0].state is ModelState.UNAVAILABLE


def test_a_load_comes_back_from_the_wire_as_it_was() -> None:
    loads = (ModelLoad("m", 1, 2, 3, 4, 5, 6.5), ModelLoad("n", 0, 0, 0, 0))
    assert loads_from_wire(loads_to_wire(loads)) == loads
