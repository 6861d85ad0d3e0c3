"""A node's hardware on the wire and back."""

from __future__ import annotations

from inferno.registration.v1 import node_pb2
from inferno_proxy.fleet import Disk, Gpu, Hardware, MigInstance


def hardware_from_wire(wire: node_pb2.Hardware) -> Hardware:
    """Read an inventory."""
    return Hardware(
        cpu_count=wire.cpu_count,
        memory_bytes=wire.memory_bytes,
        gpus=tuple(_gpu_from_wire(gpu) for gpu in wire.gpus),
        provider=wire.provider,
        instance_type=wire.instance_type,
        cpu_model=wire.cpu_model,
        cpu_quota=wire.cpu_quota,
        memory_limit_bytes=wire.memory_limit_bytes,
        disks=tuple(Disk(disk.purpose, disk.folder, disk.total_bytes, disk.free_bytes) for disk in wire.disks),
        driver_version=wire.driver_version,
        cuda_version=wire.cuda_version,
        gpu_remark=wire.gpu_remark,
    )


def hardware_to_wire(hardware: Hardware) -> node_pb2.Hardware:
    """Write an inventory."""
    return node_pb2.Hardware(
        cpu_count=hardware.cpu_count,
        memory_bytes=hardware.memory_bytes,
        gpus=[_gpu_to_wire(gpu) for gpu in hardware.gpus],
        provider=hardware.provider,
        instance_type=hardware.instance_type,
        cpu_model=hardware.cpu_model,
        cpu_quota=hardware.cpu_quota,
        memory_limit_bytes=hardware.memory_limit_bytes,
        disks=[
            node_pb2.Disk(
                purpose=disk.purpose, folder=disk.folder, total_bytes=disk.total_bytes, free_bytes=disk.free_bytes
            )
            for disk in hardware.disks
        ],
        driver_version=hardware.driver_version,
        cuda_version=hardware.cuda_version,
        gpu_remark=hardware.gpu_remark,
    )


def _gpu_from_wire(wire: node_pb2.Gpu) -> Gpu:
    return Gpu(
        uuid=wire.uuid,
        name=wire.name,
        memory_bytes=wire.memory_bytes,
        compute_capability=wire.compute_capability,
        pci_bus_id=wire.pci_bus_id,
        pcie_generation=wire.pcie_generation,
        pcie_width=wire.pcie_width,
        pcie_current_width=wire.pcie_current_width,
        nvlinks=wire.nvlinks,
        mig_enabled=wire.mig_enabled,
        mig_instances=tuple(MigInstance(part.uuid, part.name, part.memory_bytes) for part in wire.mig_instances),
    )


def _gpu_to_wire(gpu: Gpu) -> node_pb2.Gpu:
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
            node_pb2.MigInstance(uuid=part.uuid, name=part.name, memory_bytes=part.memory_bytes)
            for part in gpu.mig_instances
        ],
    )
