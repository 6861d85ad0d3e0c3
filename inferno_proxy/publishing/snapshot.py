"""A snapshot: every xDS resource one kind of client may ask for, at one moment, already encoded."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from inferno_runtime import logs


class Dialect(StrEnum):
    """The two kinds of xDS client: an Envoy, and a gRPC library that balances by itself (proxyless)."""

    ENVOY = "envoy"
    GRPC = "grpc"


class ResourceType(StrEnum):
    """xDS type URLs, declared in the order in which an update must reach a client (make before break).

    Source: envoy docs/root/api-docs/xds_protocol.rst, "Eventual consistency considerations". Runtime values refer to
    clusters by name and wait for none: Envoy looks a value up when it needs it. It
    asks for secrets once a cluster has named them, and uses that when it has them. It
    asks for token buckets by name once a listener has named them, and opens that listener when it has them.
    """

    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a name
    ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
    BUCKET = "type.googleapis.com/envoy.type.v3.TokenBucket"

    @property
    def short(self) -> str:
        """The customary short name: cds, sds, eds, lds, rds, rtds; token buckets have none and are called buckets."""
        return {
            "CLUSTER": "cds",
            "SECRET": "sds",
            "ENDPOINT": "eds",
            "LISTENER": "lds",
            "ROUTE": "rds",
            "RUNTIME": "rtds",
            "BUCKET": "buckets",
        }[self.name]


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
    once every client has applied the snapshot, those revisions are applied. ``elsewhere`` is what an Envoy of another
    machine gets in the place of ``resources``, by type, as far as it differs; its listeners have no address yet
    (see :mod:`inferno_proxy.resources.elsewhere`).
    """

    serial: int = 0
    resources: Resources = field(default_factory=lambda: MappingProxyType({}))
    revisions: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    elsewhere: Resources = field(default_factory=lambda: MappingProxyType({}))


def same_content(one: Resources, other: Resources) -> bool:
    """True when two snapshots hold the same resources, compared by version."""
    return one.keys() == other.keys() and all(_same(resources, other[kind]) for kind, resources in one.items())


def _same(one: Mapping[str, Resource], other: Mapping[str, Resource]) -> bool:
    return one is other or (
        one.keys() == other.keys()
        and all(each is other[n] or each.version == other[n].version for n, each in one.items())
    )


# The file of a last good snapshot: magic, format version, length and BLAKE2b hash of the rest, then the rest: serial,
# types with their resources, revisions. Numbers are little-endian; a text or body is preceded by its length in 32 bits.
_MAGIC = b"INFERNO-SNAPSHOT"
_FORMAT = 1
_HEADER = struct.Struct("<16sHQ32s")
_LOG = logs.get("snapshot")


def last_good_path(directory: Path, dialect: Dialect) -> Path:
    """Where the last good snapshot of a dialect is kept in a data directory."""
    return directory / f"last-good-{dialect.value}.snapshot"


def write_last_good(path: Path, snapshot: Snapshot) -> None:
    """Keep a snapshot in a file only its owner can read, so that a reader finds the old or the new one, never a part.

    Raises:
        OSError: The file cannot be written.
    """
    body = _pack(snapshot)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_HEADER.pack(_MAGIC, _FORMAT, len(body), hashlib.blake2b(body, digest_size=32).digest()))
        file.write(body)
        file.flush()
        os.fsync(descriptor)
    partial.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_last_good(path: Path) -> Snapshot | None:
    """Read a snapshot that :func:`write_last_good` kept; None when there is none that can be read.

    A file that is damaged, or in a format of another version, is set aside under the suffix ``.corrupt``.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _LOG.error("last good snapshot not readable", path=str(path), reason=str(error))
        return None
    try:
        return _unpack(_verified(raw))
    except (ValueError, struct.error) as error:
        _LOG.warning("last good snapshot set aside", path=str(path), reason=str(error))
        # Where it cannot be moved it stays; the next good one replaces it.
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".corrupt"))
        return None


def _verified(raw: bytes) -> bytes:
    magic, version, size, digest = _HEADER.unpack_from(raw)
    body = raw[_HEADER.size :]
    if magic != _MAGIC or version != _FORMAT:
        raise ValueError("it is no snapshot of this version")
    if len(body) != size or hashlib.blake2b(body, digest_size=32).digest() != digest:
        raise ValueError("its content does not match its checksum")
    return body


def _pack(snapshot: Snapshot) -> bytes:
    parts = [struct.pack("<QI", snapshot.serial, len(snapshot.resources))]
    for kind, resources in snapshot.resources.items():
        parts += (_text(kind.value), struct.pack("<I", len(resources)))
        for resource in resources.values():
            parts += (
                _text(resource.name),
                _text(resource.version),
                struct.pack("<I", len(resource.body)),
                resource.body,
            )
    parts.append(struct.pack("<I", len(snapshot.revisions)))
    for node_id, (incarnation, revision) in snapshot.revisions.items():
        parts += (_text(node_id), struct.pack("<QQ", incarnation, revision))
    return b"".join(parts)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<I", len(raw)) + raw


def _unpack(body: bytes) -> Snapshot:
    at = 0

    def numbers(form: str) -> tuple[int, ...]:
        nonlocal at
        found: tuple[int, ...] = struct.unpack_from(form, body, at)
        at += struct.calcsize(form)
        return found

    def chunk() -> bytes:
        nonlocal at
        (size,) = numbers("<I")
        at += size
        return body[at - size : at]

    serial, types = numbers("<QI")
    resources: dict[ResourceType, Mapping[str, Resource]] = {}
    for _ in range(types):
        kind = ResourceType(chunk().decode())
        (count,) = numbers("<I")
        listed = (Resource(name=chunk().decode(), version=chunk().decode(), body=chunk()) for _ in range(count))
        resources[kind] = MappingProxyType({resource.name: resource for resource in listed})
    revisions = {}
    for _ in range(numbers("<I")[0]):
        node_id = chunk().decode()
        incarnation, revision = numbers("<QQ")
        revisions[node_id] = (incarnation, revision)
    return Snapshot(serial, MappingProxyType(resources), MappingProxyType(revisions))
