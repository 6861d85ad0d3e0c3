"""A node as a Pod: what its pool says, laid over a template. Pure."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.provider import TAG, TAG_NODE, TAG_POOL
from inferno_runtime.errors import InvalidInput

SELECTOR = f"{TAG}={TAG}"
_MICROS = 1_000_000
# RFC 1123, and short enough for the value of a label.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def is_ours(found: Mapping[str, Any]) -> bool:
    """True for a Pod that bears our label."""
    return bool(found["metadata"].get("labels", {}).get(TAG) == TAG)


def pod(
    node: str, pool: Pool, template: Mapping[str, Any], arguments: Mapping[str, str], discovery_lb: str
) -> dict[str, Any]:
    """The Pod of a node.

    The first container that says no command of its own becomes ``inferno-backend``; every container is told what the
    node is by the environment, from which the backend reads its settings.

    Args:
        node: Its name, and the Pod's.
        pool: Its pool.
        template: A Pod, of which name, labels and environment are completed.
        arguments: Arguments of the backend; that of no name is words as in a shell.
        discovery_lb: Proxies to register with.

    Raises:
        InvalidInput: The node's name cannot be a Pod's.
    """
    if not _NAME.fullmatch(node):
        raise InvalidInput(
            f"{node[:80]!r} cannot be the name of a Pod.",
            reason="BAD_NODE",
            fix="Use lower-case letters, digits and dashes, at most 63.",
        )
    made = copy.deepcopy(dict(template))
    metadata = {**made.get("metadata", {}), "name": node}
    metadata["labels"] = {**metadata.get("labels", {}), TAG: TAG, TAG_NODE: node, TAG_POOL: pool.name}
    spec = dict(made["spec"])
    spec["containers"] = [
        _container(each, node, pool, arguments if number == 0 else None, discovery_lb)
        for number, each in enumerate(spec["containers"])
    ]
    if pool.zone:
        spec["nodeSelector"] = {**spec.get("nodeSelector", {}), "topology.kubernetes.io/zone": pool.zone}
    if pool.instance_type:
        spec["nodeSelector"] = {
            **spec.get("nodeSelector", {}),
            "node.kubernetes.io/instance-type": pool.instance_type,
        }
    return {**made, "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _container(
    given: Mapping[str, Any], node: str, pool: Pool, arguments: Mapping[str, str] | None, discovery_lb: str
) -> dict[str, Any]:
    told = {
        "INFERNO_BACKEND_NODE_ID": node,
        "INFERNO_BACKEND_MODEL": ",".join(pool.models),
        "INFERNO_BACKEND_DISCOVERY_LB": discovery_lb,
        "INFERNO_BACKEND_LABELS": f"{TAG_POOL}={pool.name}",
        "INFERNO_BACKEND_PRICE_PER_HOUR": str(Decimal(pool.micros_per_hour) / _MICROS) if pool.micros_per_hour else "",
        "INFERNO_BACKEND_SPOT": "true" if pool.spot else "",
        "INFERNO_BACKEND_HOST": "0.0.0.0",  # noqa: S104 - of the Pod; the backend asks for TLS there
    }
    # The client takes quantities as text alone; people write `nvidia.com/gpu: 1`.
    resources = {
        kind: {name: str(value) for name, value in (amounts or {}).items()} if kind != "claims" else amounts
        for kind, amounts in given.get("resources", {}).items()
    }
    known = {each["name"] for each in given.get("env", ())}
    env: list[Any] = [{"name": name, "value": value} for name, value in told.items() if value]
    env.append({"name": "INFERNO_BACKEND_ADVERTISE_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    made = {**given, "env": [*given.get("env", ()), *(each for each in env if each["name"] not in known)]}
    if resources:
        made["resources"] = resources
    if arguments is not None and "command" not in given and "args" not in given:
        named = [word for name, value in arguments.items() if name and value for word in (name, value)]
        made["command"] = ["inferno-backend"]
        made["args"] = [*named, *shlex.split(arguments.get("", ""))]
    return made
