"""The node as its agent knows it: frozen values, no wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class ModelState(StrEnum):
    """Whether one version of a model can serve; the words are Triton's."""

    READY = "READY"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


class Condition(StrEnum):
    """What the agent says of the node as a whole."""

    STARTING = "STARTING"
    SERVING = "SERVING"
    DRAINING = "DRAINING"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a Triton answers, each as ``host:port``; ``http`` and ``metrics`` are empty when it has none."""

    grpc: str
    http: str = ""
    metrics: str = ""


NOWHERE = Endpoints("")


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model, with the server's own reason when it cannot serve, or a remark of the agent's."""

    version: str
    state: ModelState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """What the instances of a model run on, and what it is made of.

    Attributes:
        gpus: Numbers of the GPUs that its instances are on, as Triton counts them; empty: on CPUs, or unknown.
        any_gpu: True when it runs on GPUs that its backend chooses itself.
        steps: The models that an ensemble is made of.
    """

    gpus: tuple[int, ...] = ()
    any_gpu: bool = False
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """One model; ``max_batch_size`` 0 means it does not batch, ``instance_count`` 0 that it is unknown.

    ``loads`` and ``load_failure`` are as in inferno.registration.v1.Model.
    ``lost_processes`` is how many processes of its own have ended by themselves in the agent's life.
    """

    name: str
    versions: tuple[ModelVersion, ...] = ()
    stateful: bool = False
    decoupled: bool = False
    max_batch_size: int = 0
    instance_count: int = 0
    platform: str = ""
    placement: Placement = Placement()
    loads: int = 0
    load_failure: str = ""
    lost_processes: int = 0

    @property
    def ready(self) -> bool:
        """True when some version can serve."""
        return any(one.state is ModelState.READY for one in self.versions)


@dataclass(frozen=True, slots=True)
class NodeState:
    """What changes about a node: its condition and its models."""

    condition: Condition = Condition.STARTING
    reason: str = ""
    endpoints: Endpoints = NOWHERE
    models: tuple[Model, ...] = ()
    server_version: str = ""


@dataclass(frozen=True, slots=True)
class Revised:
    """A node state with its number: what a proxy is sent and confirms. Number 0 is not for sending yet."""

    revision: int
    state: NodeState


@dataclass(frozen=True, slots=True)
class MigInstance:
    """One part of a partitioned GPU: its UUID, its name and its memory in bytes."""

    uuid: str
    name: str = ""
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; empty and zero where it does not tell.

    Attributes:
        uuid: Its UUID.
        name: Its name, as the driver tells it.
        memory_bytes: Its memory.
        compute_capability: What its instruction set can do, like ``9.0``.
        pci_bus_id: Its place on the PCI bus.
        pcie_generation: The best PCIe generation that GPU and slot reach together.
        pcie_width: The most PCIe lanes they reach.
        pcie_current_width: The PCIe lanes in use.
        nvlinks: NVLinks that are up.
        mig_enabled: True when it is partitioned (MIG): work runs in its instances only.
        mig_instances: Its parts.
    """

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
    """What the node runs on; memory in bytes.

    Attributes:
        cpu_count: CPUs it may use.
        memory_bytes: The machine's main memory.
        gpus: Its GPUs, in the order of the PCI bus.
        cpu_model: The CPUs' name.
        cpu_quota: CPUs worth of time its control group allows; 0: no limit.
        memory_limit_bytes: Memory its control group allows; 0: no limit.
        disks: The disks under its folders.
        driver_version: NVIDIA's driver.
        cuda_version: The newest CUDA that driver serves.
        gpu_remark: Why its GPUs, or some of them, cannot be read; empty when all can, or there is none.
    """

    cpu_count: int
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()
    cpu_model: str = ""
    cpu_quota: float = 0.0
    memory_limit_bytes: int = 0
    disks: tuple[Disk, ...] = ()
    driver_version: str = ""
    cuda_version: str = ""
    gpu_remark: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What never changes within one life of a node; the price is in millionths of a US dollar an hour.

    ``advertise_host`` stands in for the host of its addresses where others reach it by another name; empty: the same.
    ``doors`` are where members of the mesh reach it over TLS; None: at Triton's own addresses, without.
    """

    node_id: str
    incarnation: int
    hardware: Hardware
    agent_version: str
    advertise_host: str = ""
    doors: Endpoints | None = None
    price_micros_per_hour: int = 0
    region: str = ""
    zone: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    provider: str = ""
    instance_type: str = ""
    instance_id: str = ""
    spot: bool = False


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """Work of one model now.

    Attributes:
        model: Its name.
        queued: Requests that wait.
        completed: Requests that succeeded since the server started.
        failed: Requests that did not.
        latency_micros: Mean time of a request over the last window; 0 when none ended in it.
        service_micros: The same without its time in the queue.
        executing: Streams that run, or the mean number of requests that executed over the last window.
    """

    model: str
    queued: int
    completed: int
    failed: int
    latency_micros: int
    service_micros: int = 0
    executing: float = 0.0
