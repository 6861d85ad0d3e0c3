"""Nodes as clusters of SkyPilot, one machine each, for every cloud that it knows. Its SDK talks to an API server, and
blocks: every call runs in a thread.

https://docs.skypilot.co/en/latest/reference/api.html (0.14): every call answers with the id of a request, and ``get``
waits for its result. A launch is accepted once it has an id; what becomes of it is seen in the list.
"""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydantic

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.options import Options, read
from inferno_governator.providers.provider import TAG, TAG_NODE, TAG_POOL, Machine, MachineState
from inferno_runtime.background import in_background
from inferno_runtime.errors import (
    Denied,
    Exhausted,
    InfernoError,
    InvalidInput,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

_MICROS = 1_000_000
_STATES: Mapping[str, MachineState] = {
    "INIT": MachineState.PENDING,
    "PENDING": MachineState.PENDING,
    "UP": MachineState.RUNNING,
    "AUTOSTOPPING": MachineState.STOPPING,
    "STOPPED": MachineState.STOPPED,
}
# SkyPilot's exceptions by name (sky/exceptions.py): their module is heavy, and grows.
_NO_CAPACITY = frozenset({"ResourcesUnavailableError"})
_THROTTLED = frozenset({"ConcurrentWorkerExhaustedError", "ExecutionPoolFullError"})
_WHO = frozenset(
    {"ApiServerAuthenticationError", "NoCloudAccessError", "InvalidCloudCredentials", "CloudUserIdentityError"}
)
_MAY_NOT = frozenset({"PermissionDeniedError", "NoWorkspaceAccessError", "UserRequestRejectedByPolicy"})
_OURS = frozenset(
    {
        "ProvisionPrechecksError", "ResourcesMismatchError", "NotSupportedError", "InvalidClusterNameError",
        "InvalidCloudConfigs", "InvalidSkyPilotConfigError", "ProvisionUnsupportedError", "ValueError", "TypeError",
    }
)  # fmt: skip


class SkyPilotOptions(Options):
    """What a pool tells this provider."""

    task_file: str = pydantic.Field("", description="Task in SkyPilot's YAML; labels and the environment are added.")
    cloud: str = pydantic.Field("", description="Cloud, as SkyPilot calls it; empty: the cheapest that has it.")
    accelerators: str = pydantic.Field("", description="GPUs, for example H100:8.")
    setup: str = pydantic.Field("pip install inferno-mesh", description="What a new machine runs first.")
    discovery_lb: str = pydantic.Field("", description="Proxies to register with, as for inferno backend.")
    model_repository: str = pydantic.Field("", description="Models, as for inferno backend.")
    arguments: str = pydantic.Field("", description="Further arguments of inferno backend, as in a shell.")


class SkyPilot:
    """Launches, downs and lists clusters. ``sky`` is SkyPilot's module; without it, the installed one."""

    name = "skypilot"

    def __init__(self, pools: Sequence[Pool], sky: Any = None) -> None:
        """Raises:
        Unsupported: SkyPilot is not installed.
        """
        if sky is None and importlib.util.find_spec("sky") is None:
            raise Unsupported(
                "The provider skypilot needs SkyPilot, which is not installed.",
                reason="EXTRA_MISSING",
                fix="pip install 'skypilot[aws]>=0.14,<0.15', with the clouds that you use.",
            )
        self._sky = sky
        self._pools = pools

    async def check(self) -> str:
        """As :meth:`inferno_governator.providers.provider.Provider.check`. Asks for a launch that is not run."""
        tasks = [_task(f"{pool.name}-check", pool) for pool in self._pools]

        def work(sky: Any) -> None:
            for task in tasks:
                sky.get(_launch(sky, task, dryrun=True))

        await self._in_thread(work)
        return f"SkyPilot, for {len(self._pools)} pools."

    async def start(self, node: str, pool: Pool) -> None:
        """As :meth:`inferno_governator.providers.provider.Provider.start`."""
        task = _task(node, pool)

        def work(sky: Any) -> None:
            if not pool.act:
                sky.get(_launch(sky, task, dryrun=True))
            elif not sky.get(sky.status(cluster_names=[node])):
                # On a cluster that is there, a launch would run the task once more.
                _launch(sky, task)

        await self._in_thread(work)

    async def stop(self, node: str) -> None:
        """As :meth:`inferno_governator.providers.provider.Provider.stop`."""

        def work(sky: Any) -> None:
            if any(_labels(each).get(TAG) == TAG for each in sky.get(sky.status(cluster_names=[node]))):
                sky.get(sky.down(node))

        await self._in_thread(work)

    async def nodes(self) -> Sequence[Machine]:
        """As :meth:`inferno_governator.providers.provider.Provider.nodes`."""
        found = await self._in_thread(lambda sky: sky.get(sky.status()))
        return [_machine(each) for each in found if _labels(each).get(TAG) == TAG]

    async def _in_thread(self, work: Callable[[Any], Any]) -> Any:
        def named() -> Any:
            try:
                return work(self._sky or importlib.import_module("sky"))
            except Exception as error:
                raise _reaction(error) from error

        return await in_background(named)


def _launch(sky: Any, task: dict[str, Any], *, dryrun: bool = False) -> Any:
    return sky.launch(sky.Task.from_yaml_config(task), cluster_name=task["name"], dryrun=dryrun)


def _task(node: str, pool: Pool) -> dict[str, Any]:
    """SkyPilot's task of a node."""
    options = read(pool, SkyPilotOptions)
    task = _template(pool, options)
    wanted = {
        "cloud": options.cloud,
        "region": pool.region,
        "zone": pool.zone,
        "instance_type": pool.instance_type,
        "accelerators": options.accelerators,
        "use_spot": pool.spot,
    }
    resources = {**{name: value for name, value in wanted.items() if value}, **(task.get("resources") or {})}
    resources["labels"] = {**(resources.get("labels") or {}), TAG: TAG, TAG_NODE: node, TAG_POOL: pool.name}
    told = {
        "INFERNO_BACKEND_NODE_ID": node,
        "INFERNO_BACKEND_MODEL": ",".join(pool.models),
        "INFERNO_BACKEND_DISCOVERY_LB": options.discovery_lb,
        "INFERNO_BACKEND_MODEL_REPOSITORY": options.model_repository,
        "INFERNO_BACKEND_LABELS": f"{TAG_POOL}={pool.name}",
        "INFERNO_BACKEND_PRICE_PER_HOUR": str(Decimal(pool.micros_per_hour) / _MICROS) if pool.micros_per_hour else "",
    }
    envs = {**{name: value for name, value in told.items() if value}, **(task.get("envs") or {})}
    return {**task, "name": node, "num_nodes": 1, "resources": resources, "envs": envs}


def _template(pool: Pool, options: SkyPilotOptions) -> dict[str, Any]:
    if not options.task_file:
        return {"setup": options.setup, "run": f"inferno-backend {shlex.join(shlex.split(options.arguments))}".strip()}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe", pure=True).load(Path(options.task_file))
    except (OSError, YAMLError) as error:
        found, said = None, f": {' '.join(str(error).split())[:200]}"
    else:
        said = ""
    if not isinstance(found, dict):
        raise InvalidInput(
            f"Pool {pool.name!r}: its task_file is no task{said}.",
            reason="BAD_POOL",
            fix="Write it as for sky launch.",
        )
    return found


def _machine(each: Any) -> Machine:
    said, labels = _fields(each), _labels(each)
    status = getattr(said.get("status"), "value", said.get("status"))
    return Machine(
        node=str(said["name"]),
        pool=str(labels.get(TAG_POOL, "")),
        state=_STATES.get(str(status), MachineState.PENDING),
        born_at=float(said.get("launched_at") or 0),
        machine=str(said.get("cluster_hash") or said["name"]),
        zone=str(said.get("zone") or said.get("region") or ""),
        why=str(said.get("init_status_reason") or "") if said.get("init_kind") == "unhealthy" else "",
    )


def _labels(each: Any) -> Mapping[str, Any]:
    """The labels that a cluster was launched with: SkyPilot tells them in the YAML of its last launch alone."""
    from ruamel.yaml import YAML

    text = _fields(each).get("last_creation_yaml") or ""
    task = YAML(typ="safe", pure=True).load(text) if text else None
    resources = task.get("resources") if isinstance(task, dict) else None
    labels = resources.get("labels") if isinstance(resources, dict) else None
    return labels if isinstance(labels, dict) else {}


def _fields(each: Any) -> Mapping[str, Any]:
    """A cluster's status, which is a dictionary or a model of pydantic's."""
    found: Mapping[str, Any] = each if isinstance(each, Mapping) else dict(each)
    return found


def _reaction(error: Exception) -> InfernoError:
    if isinstance(error, InfernoError):
        return error
    name = type(error).__name__
    said = f"SkyPilot: {name}: {' '.join(str(error).split())[:300].rstrip('.')}."
    if name in _NO_CAPACITY:
        return Exhausted(said, reason="NO_CAPACITY", fix="Wait, or let another pool carry the load.")
    if name in _THROTTLED:
        return Exhausted(said, reason="THROTTLED", fix="Ask again later, and less often.")
    if name in _WHO:
        return Unauthenticated(said, reason="BAD_CREDENTIALS", fix="Run sky check, or sky api login.")
    if name in _MAY_NOT:
        return Denied(said, reason="NOT_ALLOWED", fix="Ask whoever runs the API server.")
    if name in _OURS:
        return InvalidInput(said, reason="BAD_POOL", fix="Mend the pool's settings.")
    # Whatever else: whether it took place, the list tells.
    return Unavailable(
        said, reason="PROVIDER_UNAVAILABLE", fix="See sky api status; list the nodes before asking again."
    )
