"""Nodes from EndpointSlices."""

from __future__ import annotations

from typing import Any

import pytest

from inferno_proxy.discovery.endpoint_slices import Ports, nodes_of
from inferno_proxy.fleet import Address, Node, NodeCondition

PORTS = Ports("grpc", "http", "r")


def endpoint(address: str = "10.0.0.1", pod: str = "", **fields: Any) -> dict[str, Any]:
    target = {"targetRef": {"kind": "Pod", "name": pod}} if pod else {}
    return {"addresses": [address], "conditions": {"ready": True}, **target, **fields}


def piece(name: str, *endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "ns", "labels": {"kubernetes.io/service-name": "triton"}},
        "addressType": "IPv4",
        "ports": [{"name": "grpc", "port": 8001}, {"name": "http", "port": 8000}],
        "endpoints": list(endpoints),
        **fields,
    }


def only(*slices: dict[str, Any], ports: Ports = PORTS) -> Node:
    found = nodes_of(slices, ports)
    assert found.problems == ()
    (node,) = found.named.nodes.values()
    return node


def test_a_pod_is_a_node_with_the_ports_of_its_slice() -> None:
    found = nodes_of([piece("s", endpoint(pod="triton-0", zone="z", nodeName="n1"))], PORTS)
    node = found.named.nodes["triton-0"]
    assert (node.grpc_address, node.http_address) == (Address("10.0.0.1", 8001), Address("10.0.0.1", 8000))
    assert (node.region, node.zone) == ("r", "z")
    assert node.labels == {"kubernetes.service": "triton", "kubernetes.node": "n1"}
    assert (node.condition, node.condition_reason) == (NodeCondition.SERVING, "")
    assert found.named.places == {"triton-0": "EndpointSlice ns/s"}


def test_several_slices_are_one_service_and_a_dual_stack_pod_is_one_node() -> None:
    found = nodes_of(
        [
            piece("v6", endpoint("fd00::1", "a"), addressType="IPv6"),
            piece("v4", endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b")),
            piece("more", endpoint("10.0.0.3", "c")),
        ],
        PORTS,
    )
    assert {name: node.grpc_address.host for name, node in found.named.nodes.items()} == {
        "a": "10.0.0.1",
        "b": "10.0.0.2",
        "c": "10.0.0.3",
    }


def test_of_two_words_for_one_pod_the_better_one_counts() -> None:
    old = piece("a", endpoint(pod="p", conditions={"ready": False}))
    assert only(old, piece("b", endpoint(pod="p"))).condition is NodeCondition.SERVING


@pytest.mark.parametrize(
    ("conditions", "condition"),
    [
        ({}, NodeCondition.SERVING),
        (None, NodeCondition.SERVING),
        ({"ready": None}, NodeCondition.SERVING),
        ({"ready": False}, NodeCondition.FAILED),
        ({"ready": False, "serving": True, "terminating": True}, NodeCondition.DRAINING),
        ({"ready": False, "serving": False, "terminating": True}, NodeCondition.DRAINING),
    ],
)
def test_conditions_say_whether_a_node_serves_or_drains(conditions: Any, condition: NodeCondition) -> None:
    node = only(piece("s", endpoint(conditions=conditions)))
    assert node.condition is condition
    assert bool(node.condition_reason) == (condition is not NodeCondition.SERVING)


def test_what_is_no_pod_is_named_by_its_address_and_ports_may_be_numbers() -> None:
    six = piece("s", endpoint("fd00::1"), addressType="IPv6", ports=None, metadata={"name": "s"})
    node = only(six, ports=Ports(9001))
    assert (node.node_id, str(node.grpc_address), node.http_address) == ("fd00--1_9001", "[fd00::1]:9001", None)
    assert node.labels == {}


def test_slices_that_cannot_be_used_are_named() -> None:
    found = nodes_of(
        [
            piece("f", endpoint("h.example"), addressType="FQDN"),
            piece("p", endpoint(), ports=[{"name": "metrics", "port": 8002}, {"port": 7}]),
            piece("q", endpoint(), ports=[]),
            piece("e", {"addresses": []}, endpoints=[{"addresses": []}, {}]),
            piece("n", endpoints=None),
        ],
        PORTS,
    )
    assert found.named.nodes == {}
    assert found.problems == (
        "EndpointSlice ns/f holds addresses of type FQDN, not IPv4 or IPv6.",
        "EndpointSlice ns/p has no port 'grpc' for gRPC; its ports: metrics, 7.",
        "EndpointSlice ns/q has no port 'grpc' for gRPC; its ports: none.",
    )
