"""What an agent is put together from, each made from the settings alone."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from importlib.metadata import version

from inferno_backend import guarded
from inferno_backend import identity as names
from inferno_backend.cloud.machine import Machine
from inferno_backend.hardware import inventory
from inferno_backend.node import Identity
from inferno_backend.response_cache import ResponseCache
from inferno_backend.settings import BackendSettings
from inferno_backend.sidecar.certificate import mesh_of
from inferno_backend.sidecar.configuration import Doors
from inferno_backend.sidecar.sidecar import Sidecar, Wanted, retire
from inferno_backend.triton import attach, installation, repository, shared_memory
from inferno_backend.triton.command import Ports
from inferno_backend.triton.process import Place
from inferno_backend.triton.server import AttachedServer, OwnServer, Server
from inferno_runtime import logs
from inferno_runtime.clock import Clock

_LOG = logs.get("agent")


def identity(settings: BackendSettings, devices: inventory.Devices, machine: Machine) -> Identity:
    """The node's identity: what the settings say counts before what its provider says."""
    folders = {"data": settings.data_dir.absolute()}
    if settings.model_repository is not None and not repository.store(settings.model_repository):
        folders["models"] = settings.model_repository.absolute()
    return Identity(
        node_id=names.node_id(settings.node_id, settings.data_dir),
        incarnation=names.incarnation(time.time_ns(), settings.data_dir),
        hardware=inventory.hardware(devices, folders),
        agent_version=version("inferno-mesh"),
        advertise_host=settings.advertise_host,
        price_micros_per_hour=settings.price_micros_per_hour,
        region=settings.region or machine.region,
        zone=settings.zone or machine.zone,
        labels=settings.labels,
        provider=settings.provider or machine.provider,
        instance_type=settings.instance_type or machine.instance_type,
        instance_id=machine.instance_id,
        spot=settings.spot if settings.spot is not None else bool(machine.spot),
    )


def cache(settings: BackendSettings) -> ResponseCache | None:
    """None where nothing is to be kept, or an attached Triton has its own repository."""
    if not settings.cache or settings.model_repository is None:
        return None
    return ResponseCache(settings.cache, settings.model_repository.absolute())


async def sidecar(settings: BackendSettings, node_id: str, clock: Clock) -> Sidecar | None:
    """TLS in front of Triton, serving; None for a node that needs none, and then none is left of an earlier life."""
    place = guarded.Place(settings.data_dir.absolute() / "sidecar")
    if not settings.secured:
        await retire(place)
        return None
    doors = Doors(settings.host, settings.grpc_port, settings.http_port)
    wanted = Wanted(place, doors, settings.identity, mesh_of(settings.identity, node_id), settings.leash_fd)
    made = Sidecar(wanted, clock)
    await made.start()
    return made


async def server(settings: BackendSettings) -> Server:
    """The Triton to serve with: one of our own over the model repository, or the one that is given.

    Raises:
        InfernoError: There is none, or its models cannot be read.
    """
    if settings.model_repository is None:
        urls = (settings.triton_url, settings.triton_http_url, settings.triton_metrics_url)
        return AttachedServer(await attach.endpoints(*urls))
    found = installation.find(settings.triton_binary, os.environ.get("PATH", ""))
    store = repository.store(settings.model_repository)
    if store:
        models = repository.Repository(settings.model_repository, settings.model, {}, store=store)
    else:
        models = repository.scan(settings.model_repository.absolute())
    for name, reason in models.broken.items():
        _LOG.error("a model cannot be loaded: the others go on without it", model=name, reason=reason)
    for name, remark in models.remarks.items():
        _LOG.warning("a model's configuration does not do what it says", model=name, remark=remark)
    repository.check_known(models, settings.cache, "--cache")
    chosen = (settings.model or None) if store else repository.choose(models, settings.model)
    if warning := shared_memory.check(sum(models.processes.get(name, 0) for name in chosen or ())):
        _LOG.warning("shared memory is short", remark=warning)
    return OwnServer(
        replace(found, cache_bytes=settings.cache_bytes),
        Place(settings.data_dir.absolute() / "triton"),
        models,
        chosen,
        wanted_ports=Ports("127.0.0.1", 0, 0, settings.metrics_port)
        if settings.secured
        else Ports(settings.host, settings.grpc_port, settings.http_port, settings.metrics_port),
        # NVML and PCI number GPUs alike; CUDA's own choice would put the fastest first.
        env={"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **os.environ},
        leash_fd=settings.leash_fd,
        drain_timeout=settings.drain_timeout,
    )
