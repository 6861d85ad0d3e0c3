"""What a registration must look like to be let in: names, lengths, counts, addresses. Each refusal names the field."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from inferno_proxy.fleet import Address, Node
from inferno_runtime.errors import InvalidInput

_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
# Triton takes a model's name from a folder's name; the characters left out here would break paths and resource names.
_MODEL = re.compile(r"[^\x00-\x20\x7f/\\?#%]{1,256}")
_METADATA_V6 = ipaddress.ip_address("fd00:ec2::254")
_UINT64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one registration and on the fleet. ``reserved`` are the proxy's own addresses, by what they are.
    ``secured``: the proxy has an identity of the mesh, and so reaches nodes that take TLS only."""

    nodes: int = 20_000
    models: int = 1024
    versions: int = 64
    gpus: int = 64
    disks: int = 16
    labels: int = 64
    text: int = 256
    reason: int = 4096
    reserved: Mapping[Address, str] = field(default_factory=dict)
    secured: bool = False


def check(node: Node, limits: Limits) -> None:
    """Refuse a node that is malformed or out of bounds; its addresses must be IP addresses already.

    Raises:
        InvalidInput: With the name of the first wrong field in ``metadata["field"]``.
    """
    if not _NODE_ID.fullmatch(node.node_id):
        raise refusal(
            "node_id",
            f"{node.node_id[:64]!r} is not a node name",
            "Use 1 to 128 letters, digits, '.', '_' or '-'.",
        )
    if not 1 <= node.incarnation <= _UINT64:
        raise refusal("incarnation", "it is missing", "Send the node's start time, or any number that grows.")
    if node.revision < 1:
        raise refusal("revision", "it is missing", "Count changes of the node from 1.")
    _check_address("grpc_address", node.grpc_address, limits)
    if node.http_address is not None:
        _check_address("http_address", node.http_address, limits)
        if node.http_address == node.grpc_address:
            raise refusal("http_address", "it is the same as grpc_address", "Give the REST port, or leave it out.")
    if node.tls and not limits.secured:
        raise refusal(
            "tls",
            "this proxy has no certificate of the mesh, and so cannot reach a node that takes TLS only",
            "Give the proxy a mesh port, with which it gets one.",
        )
    _check_texts(node, limits)
    _check_models(node, limits)
    if node.price_micros_per_hour < 0:
        raise refusal("price_micros_per_hour", "it is negative", "Use 0 when it is unknown.")


def _check_address(name: str, address: Address, limits: Limits) -> None:
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        raise refusal(name, f"{address} is not an IP address with a port", "Write it like 10.0.0.7:8001.") from None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    ip = mapped or ip
    kind = next(
        (
            what
            for what, wrong in {
                "the unspecified address": ip.is_unspecified,
                "a multicast address": ip.is_multicast,
                "a link-local address, where clouds keep their metadata service": ip.is_link_local,
                "a cloud's metadata service": ip == _METADATA_V6,
                "a broadcast or reserved address": ip.is_reserved and not ip.is_loopback,
            }.items()
            if wrong
        ),
        limits.reserved.get(address),
    )
    if kind:
        raise refusal(name, f"{address} is {kind}", "Give the address at which the proxy reaches the model server.")


def _check_texts(node: Node, limits: Limits) -> None:
    texts = {
        "region": node.region,
        "zone": node.zone,
        "server_version": node.server_version,
        "agent_version": node.agent_version,
        "hardware.provider": node.hardware.provider,
        "hardware.instance_type": node.hardware.instance_type,
        "hardware.cpu_model": node.hardware.cpu_model,
        "hardware.driver_version": node.hardware.driver_version,
        "hardware.cuda_version": node.hardware.cuda_version,
        "instance_id": node.instance_id,
    }
    for name, text in texts.items():
        _check_length(name, text, limits.text)
    _check_length("condition_reason", node.condition_reason, limits.reason)
    _check_length("hardware.gpu_remark", node.hardware.gpu_remark, limits.reason)
    if len(node.labels) > limits.labels:
        raise refusal("labels", f"there are {len(node.labels)}", f"Send at most {limits.labels}.")
    for key, value in node.labels.items():
        _check_length("labels", key, limits.text)
        _check_length(f"labels[{key!r}]", value, limits.text)
    if len(node.hardware.gpus) > limits.gpus:
        raise refusal("hardware.gpus", f"there are {len(node.hardware.gpus)}", f"Send at most {limits.gpus}.")
    for at, gpu in enumerate(node.hardware.gpus):
        text = gpu.uuid + gpu.name + gpu.compute_capability + gpu.pci_bus_id
        _check_length(f"hardware.gpus[{at}]", text, limits.text)
        if len(gpu.mig_instances) > limits.gpus:
            raise refusal(
                f"hardware.gpus[{at}].mig_instances",
                f"there are {len(gpu.mig_instances)}",
                f"Send at most {limits.gpus}.",
            )
        for part in gpu.mig_instances:
            _check_length(f"hardware.gpus[{at}].mig_instances", part.uuid + part.name, limits.text)
    if len(node.hardware.disks) > limits.disks:
        raise refusal("hardware.disks", f"there are {len(node.hardware.disks)}", f"Send at most {limits.disks}.")
    for at, disk in enumerate(node.hardware.disks):
        _check_length(f"hardware.disks[{at}]", disk.purpose + disk.folder, limits.reason)


def _check_models(node: Node, limits: Limits) -> None:
    if len(node.models) > limits.models:
        raise refusal("models", f"there are {len(node.models)}", f"Send at most {limits.models}.")
    seen: set[str] = set()
    for at, model in enumerate(node.models):
        name = f"models[{at}]"
        if not _MODEL.fullmatch(model.name):
            raise refusal(
                f"{name}.name",
                f"{model.name[:64]!r} is not a model name",
                "Leave out spaces, '/', '\\', '?', '#', '%'.",
            )
        if model.name in seen:
            raise refusal(f"{name}.name", f"{model.name!r} is named twice", "Send each model once.")
        seen.add(model.name)
        if len(model.versions) > limits.versions:
            raise refusal(f"{name}.versions", f"there are {len(model.versions)}", f"Send at most {limits.versions}.")
        _check_length(f"{name}.platform", model.platform, limits.text)
        for version in model.versions:
            _check_length(f"{name}.versions", version.version, limits.text)
            _check_length(f"{name}.versions[{version.version!r}].reason", version.reason, limits.reason)


def _check_length(name: str, text: str, most: int) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > most:
        raise refusal(name, f"it is longer than {most} bytes", "Shorten it.")


def refusal(field_name: str, what: str, fix: str) -> InvalidInput:
    """The error for a wrong field of a registration; ``what`` completes "node.FIELD: ..."."""
    return InvalidInput(f"node.{field_name}: {what}.", reason="MALFORMED_NODE", fix=fix, metadata={"field": field_name})
