"""Nodes from the EndpointSlices of a Kubernetes service. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/: a service has several slices,
one family of addresses in each; an endpoint may be in two slices for a moment, and a dual-stack pod is in two for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from inferno_proxy.discovery.listing import Named
from inferno_proxy.fleet import Address, Node, NodeCondition

Json = Mapping[str, Any]
_FAMILIES = ("IPv4", "IPv6")
_RANK = {NodeCondition.SERVING: 0, NodeCondition.DRAINING: 1, NodeCondition.FAILED: 2}


@dataclass(frozen=True, slots=True)
class Ports:
    """Which ports of an endpoint are the model server's, by name or number, and the region of all nodes."""

    grpc: str | int
    http: str | int | None = None
    region: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The nodes, and a sentence for each slice that cannot be used."""

    named: Named
    problems: tuple[str, ...]


def nodes_of(slices: Iterable[Json], ports: Ports) -> Found:
    """Merge slices into nodes: one for each pod, or each address where there is no pod."""
    best: dict[str, tuple[tuple[int, int, str], Node, str]] = {}
    problems = []
    for each in sorted(slices, key=_name):
        family, port = each.get("addressType"), _port(each, ports.grpc)
        if family not in _FAMILIES:
            problems.append(f"EndpointSlice {_name(each)} holds addresses of type {family}, not IPv4 or IPv6.")
            continue
        if port is None:
            has = ", ".join(str(one.get("name") or one.get("port")) for one in each.get("ports") or ()) or "none"
            problems.append(f"EndpointSlice {_name(each)} has no port {ports.grpc!r} for gRPC; its ports: {has}.")
            continue
        for node in _nodes(each, port, _port(each, ports.http), ports.region):
            rank = _RANK[node.condition], _FAMILIES.index(family), str(node.grpc_address)
            if node.node_id not in best or rank < best[node.node_id][0]:
                best[node.node_id] = rank, node, f"EndpointSlice {_name(each)}"
    named = Named(
        {node_id: node for node_id, (_, node, _) in best.items()}, {node_id: one[2] for node_id, one in best.items()}
    )
    return Found(named, tuple(problems))


def _name(each: Json) -> str:
    about = each.get("metadata") or {}
    return f"{about.get('namespace', '')}/{about.get('name', '')}"


def _port(each: Json, wanted: str | int | None) -> int | None:
    if wanted is None or isinstance(wanted, int):
        return wanted
    return next((one.get("port") for one in each.get("ports") or () if one.get("name") == wanted), None)


def _nodes(each: Json, grpc: int, http: int | None, region: str) -> Iterator[Node]:
    service = ((each.get("metadata") or {}).get("labels") or {}).get("kubernetes.io/service-name")
    for endpoint in each.get("endpoints") or ():
        # Every address of an endpoint is the same server, and clients are to use the first.
        address = next(iter(endpoint.get("addresses") or ()), None)
        if address is None:
            continue
        target = endpoint.get("targetRef") or {}
        pod = target.get("name") if target.get("kind") == "Pod" else None
        condition, reason = _condition(endpoint.get("conditions") or {})
        labels = {"kubernetes.service": service, "kubernetes.node": endpoint.get("nodeName")}
        yield Node(
            node_id=pod or f"{address.replace(':', '-')}_{grpc}",
            incarnation=1,
            grpc_address=Address(address, grpc),
            http_address=Address(address, http) if http else None,
            region=region,
            zone=endpoint.get("zone") or "",
            labels=MappingProxyType({name: value for name, value in labels.items() if value}),
            condition=condition,
            condition_reason=reason,
        )


def _condition(conditions: Json) -> tuple[NodeCondition, str]:
    """What the three conditions say; one that is missing or null counts as Kubernetes says it does."""
    if conditions.get("terminating"):
        return NodeCondition.DRAINING, "Kubernetes is ending its pod."
    if conditions.get("ready") is False:
        return NodeCondition.FAILED, "Kubernetes says that it is not ready."
    return NodeCondition.SERVING, ""
