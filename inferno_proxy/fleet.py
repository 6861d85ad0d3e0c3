"""The fleet as the control plane sees it: frozen values, no clock, no wire.

A :class:`Node` is what a node says of itself; a :class:`Member` is what the control plane makes of it; a
:class:`FleetView` is all members at one moment. Everything downstream (routing, resources, health) is a function of a
``FleetView``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A network address: IP or host name, and TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ModelState(StrEnum):
    """Whether one version of a model can serve; mirrors ``inferno.registration.v1.ModelState``."""

    READY = "ready"
    LOADING = "loading"
    UNLOADING = "unloading"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model on a node, with the server's own reason when it is not ready."""

    version: str
    state: ModelState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """One model on one node.

    ``stateful`` models keep a sequence on one node and are never executed twice; ``decoupled`` models answer over the
    stream only. ``max_batch_size`` is 0 when the model does not batch; ``instance_count`` is 0 when unknown. ``loads``
    and ``load_failure`` are as in ``inferno.registration.v1.Model``. ``lost_processes`` grows
    whenever a process of the model's own ends by itself.
    """

    name: str
    versions: tuple[ModelVersion, ...] = ()
    stateful: bool = False
    decoupled: bool = False
    max_batch_size: int = 0
    instance_count: int = 0
    platform: str = ""
    loads: int = 0
    load_failure: str = ""
    lost_processes: int = 0

    @property
    def ready(self) -> bool:
        """True when at least one version can serve."""
        return any(v.state is ModelState.READY for v in self.versions)


@dataclass(frozen=True, slots=True)
class MigInstance:
    """One part of a partitioned GPU: UUID, name, memory in bytes."""

    uuid: str
    name: str = ""
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; zero and empty mean unknown. The fields are those of the registration's ``Gpu``."""

    uuid: str
    name: str
    memory_bytes: int
    compute_capability: str = ""
    pci_bus_id: str = ""
    pcie_generation: int = 0
    pcie_width: int = 0
    pcie_current_width: int = 0
    nvlinks: int = 0
    mig_enabled: bool = False
    mig_instances: tuple[MigInstance, ...] = ()


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk under a folder: what the folder is for, where it is, and bytes there are and were free at the start."""

    purpose: str
    folder: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Hardware:
    """Inventory of a node; zero and empty mean unknown. The fields are those of the registration's ``Hardware``."""

    cpu_count: int = 0
    memory_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    provider: str = ""
    instance_type: str = ""
    cpu_model: str = ""
    cpu_quota: float = 0.0
    memory_limit_bytes: int = 0
    disks: tuple[Disk, ...] = ()
    driver_version: str = ""
    cuda_version: str = ""
    gpu_remark: str = ""


class NodeCondition(StrEnum):
    """What a node's agent says of the node as a whole."""

    SERVING = "serving"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Node:
    """What a node says of itself. ``(node_id, incarnation)`` names one life; ``revision`` counts changes within it.

    ``price_micros_per_hour`` is in millionths of a US dollar, 0 when unknown or free. ``tls``: its addresses take TLS
    with a certificate of the mesh, and nothing else.
    """

    node_id: str
    incarnation: int
    grpc_address: Address
    http_address: Address | None = None
    revision: int = 1
    models: tuple[Model, ...] = ()
    region: str = ""
    zone: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    hardware: Hardware = Hardware()
    price_micros_per_hour: int = 0
    server_version: str = ""
    agent_version: str = ""
    spot: bool = False
    condition: NodeCondition = NodeCondition.SERVING
    condition_reason: str = ""
    tls: bool = False
    instance_id: str = ""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Its gRPC address, and its REST address when it has one."""
        return (self.grpc_address,) if self.http_address is None else (self.grpc_address, self.http_address)


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """Work of one model on one node: requests queued now, completed and failed since the server started; the mean
    latency of the last sample window and the part of it in execution, in microseconds (0: no request ended in it); how
    many requests execute."""

    model: str
    queued: int
    completed: int
    failed: int
    latency_micros: int
    service_micros: int = 0
    executing: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """A node's load as it reported it, and when (``at``: monotonic seconds of the control plane's clock)."""

    models: tuple[ModelLoad, ...]
    at: float


class Phase(StrEnum):
    """The control plane's verdict on a node; mirrors ``inferno.mesh.v1.NodePhase``."""

    SERVING = "serving"
    DRAINING = "draining"
    UNMANAGED = "unmanaged"
    FAILED = "failed"


class Source(StrEnum):
    """How a node was discovered; mirrors ``inferno.mesh.v1.NodeSource``."""

    AGENT = "agent"
    ANNOUNCED = "announced"
    STATIC = "static"
    FILE = "file"
    KUBERNETES = "kubernetes"

    @property
    def lists(self) -> bool:
        """True of a source whose word holds until it names the node no more."""
        return self in (Source.STATIC, Source.FILE, Source.KUBERNETES)


@dataclass(frozen=True, slots=True)
class Member:
    """A node in the fleet. ``since`` is the wall-clock time of the last change of phase, in Unix seconds.

    A member in phase SERVING or UNMANAGED takes new work; DRAINING finishes what runs; FAILED takes none.
    """

    node: Node
    phase: Phase
    source: Source
    since: float
    reason: str = ""
    load: Load | None = None

    @property
    def takes_work(self) -> bool:
        """True when the data plane may send new requests."""
        return self.phase in (Phase.SERVING, Phase.UNMANAGED)


@dataclass(frozen=True, slots=True, eq=False)
class FleetView:
    """All members at one moment, by ``node_id``. ``serial`` grows with each change that matters to routing. Two moments
    are never equal, whatever they have in common."""

    serial: int = 0
    members: Mapping[str, Member] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def models(self) -> frozenset[str]:
        """Every model that any member names."""
        return frozenset(model.name for member in self.members.values() for model in member.node.models)


@lru_cache(maxsize=4)
def changed(before: FleetView, after: FleetView) -> frozenset[str]:
    """The node_ids whose members are not the same objects in both: all that any change between them can concern.

    Several stages follow the fleet, mostly from one view to the same next one: the last answers are kept.
    """
    if before is after:
        return frozenset()
    known, there = before.members, after.members
    news = [node_id for node_id, member in there.items() if known.get(node_id) is not member]
    added = sum(node_id not in known for node_id in news)
    gone = known.keys() - there.keys() if len(known) + added > len(there) else frozenset[str]()
    return frozenset(news).union(gone)
