"""Node values to registration messages: the only place where the two meet."""

from __future__ import annotations

from collections.abc import Iterable

from inferno.registration.v1 import node_pb2
from inferno_backend.node import Condition, Gpu, Hardware, Identity, Model, ModelLoad, ModelState, NodeState

_CONDITIONS = {
    # A node that starts for the first time is not registered; one that starts again is still failed.
    Condition.STARTING: node_pb2.NODE_CONDITION_FAILED,
    Condition.SERVING: node_pb2.NODE_CONDITION_SERVING,
    Condition.DRAINING: node_pb2.NODE_CONDITION_DRAINING,
    Condition.FAILED: node_pb2.NODE_CONDITION_FAILED,
}
_STATES = {
    ModelState.READY: node_pb2.MODEL_STATE_READY,
    ModelState.LOADING: node_pb2.MODEL_STATE_LOADING,
    ModelState.UNLOADING: node_pb2.MODEL_STATE_UNLOADING,
    ModelState.UNAVAILABLE: node_pb2.MODEL_STATE_UNAVAILABLE,
}


def node_message(identity: Identity, state: NodeState) -> node_pb2.Node:
    """The registration of a node."""
    served = state.endpoints
    reached = identity.doors or served
    return node_pb2.Node(
        node_id=identity.node_id,
        incarnation=identity.incarnation,
        grpc_address=_advertised(reached.grpc, identity),
        http_address=_advertised(reached.http, identity) if served.http else "",
        region=identity.region,
        zone=identity.zone,
        labels=dict(identity.labels),
        hardware=_hardware(identity, identity.hardware),
        price_micros_per_hour=identity.price_micros_per_hour,
        models=[_model(one) for one in state.models],
        server_version=state.server_version,
        agent_version=identity.agent_version,
        spot=identity.spot,
        condition=_CONDITIONS[state.condition],
        condition_reason=state.reason,
        tls=identity.doors is not None,
        instance_id=identity.instance_id,
    )


def load_message(models: Iterable[ModelLoad]) -> node_pb2.Load:
    """The load of a node."""
    return node_pb2.Load(
        models=[
            node_pb2.ModelLoad(
                model=one.model,
                queued=one.queued,
                completed=one.completed,
                failed=one.failed,
                latency_micros=one.latency_micros,
                service_micros=one.service_micros,
                executing=one.executing,
            )
            for one in models
        ]
    )


def _advertised(address: str, identity: Identity) -> str:
    host = identity.advertise_host
    if not host or not address:
        return address
    return f"{f'[{host}]' if ':' in host else host}:{address.rpartition(':')[2]}"


def _hardware(identity: Identity, hardware: Hardware) -> node_pb2.Hardware:
    return node_pb2.Hardware(
        cpu_count=hardware.cpu_count,
        memory_bytes=hardware.memory_bytes,
        gpus=[_gpu(one) for one in hardware.gpus],
        provider=identity.provider,
        instance_type=identity.instance_type,
        cpu_model=hardware.cpu_model,
        cpu_quota=hardware.cpu_quota,
        memory_limit_bytes=hardware.memory_limit_bytes,
        disks=[
            node_pb2.Disk(
                purpose=one.purpose, folder=one.folder, total_bytes=one.total_bytes, free_bytes=one.free_bytes
            )
            for one in hardware.disks
        ],
        driver_version=hardware.driver_version,
        cuda_version=hardware.cuda_version,
        gpu_remark=hardware.gpu_remark,
    )


def _gpu(gpu: Gpu) -> node_pb2.Gpu:
    return node_pb2.Gpu(
        uuid=gpu.uuid,
        name=gpu.name,
        memory_bytes=gpu.memory_bytes,
        compute_capability=gpu.compute_capability,
        pci_bus_id=gpu.pci_bus_id,
        pcie_generation=gpu.pcie_generation,
        pcie_width=gpu.pcie_width,
        pcie_current_width=gpu.pcie_current_width,
        nvlinks=gpu.nvlinks,
        mig_enabled=gpu.mig_enabled,
        mig_instances=[
            node_pb2.MigInstance(uuid=one.uuid, name=one.name, memory_bytes=one.memory_bytes)
            for one in gpu.mig_instances
        ],
    )


def _model(model: Model) -> node_pb2.Model:
    return node_pb2.Model(
        name=model.name,
        versions=[
            node_pb2.ModelVersion(version=one.version, state=_STATES[one.state], reason=one.reason)
            for one in model.versions
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
