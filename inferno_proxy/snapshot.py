"""A snapshot: every xDS resource one kind of client may ask for, at one moment, already encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Dialect(StrEnum):
    """The two kinds of xDS client: an Envoy, and a gRPC library that balances by itself (proxyless)."""

    ENVOY = "envoy"
    GRPC = "grpc"


class ResourceType(StrEnum):
    """xDS type URLs, declared in the order in which an update must reach a client (make before break).

    Source: envoy docs/root/api-docs/xds_protocol.rst, "Eventual consistency considerations".
    """

    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

    @property
    def short(self) -> str:
        """The customary short name: cds, eds, lds, rds."""
        return {"CLUSTER": "cds", "ENDPOINT": "eds", "LISTENER": "lds", "ROUTE": "rds"}[self.name]


@dataclass(frozen=True, slots=True)
class Resource:
    """One encoded resource. ``body`` is the serialised message (not wrapped in ``Any``); ``version`` is its hash."""

    name: str
    body: bytes
    version: str

    @classmethod
    def of(cls, name: str, body: bytes) -> Resource:
        """Make a resource whose version follows from its content, so equal content never looks like a change."""
        return cls(name, body, hashlib.blake2b(body, digest_size=8).hexdigest())


def content_version(resources: Mapping[str, Resource]) -> str:
    """Name the content of a set of resources: equal sets have equal versions, in every process and in every order."""
    total = hashlib.blake2b(digest_size=8)
    for name in sorted(resources):
        total.update(f"{name}\0{resources[name].version}\n".encode())
    return total.hexdigest()


Resources = Mapping[ResourceType, Mapping[str, Resource]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All resources of one dialect. ``serial`` grows with each published snapshot.

    ``revisions`` maps a node_id to the ``(incarnation, revision)`` of the registration this snapshot was built from:
    once every client has applied the snapshot, those revisions are applied.
    """

    serial: int = 0
    resources: Resources = field(default_factory=lambda: MappingProxyType({}))
    revisions: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
