"""Pods: what they are made of, what is said of them, and what the API's errors ask of us."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import kmock as stand_in
import pytest

from inferno_governator.providers.kubernetes import Kubernetes
from inferno_governator.providers.provider import MachineState
from inferno_runtime.errors import Denied, Exhausted, InfernoError, InvalidInput, Unauthenticated, Unavailable
from tests.integration.inferno_governator.providers.kubernetes_world import KubernetesWorld

# Where nothing of a Pod's account is mounted.
IN_A_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
TEMPLATE = """
metadata: {labels: {team: vision}, annotations: {a: b}}
spec:
  runtimeClassName: nvidia
  containers:
    - name: node
      image: "ours:1"
      resources: {limits: {nvidia.com/gpu: 1}}
      env: [{name: INFERNO_BACKEND_MODEL, value: mine}]
    - {name: side, image: "side:1", command: [sleep, inf]}
"""


async def test_a_pod_is_the_template_with_name_labels_and_what_the_node_is(
    kubernetes: KubernetesWorld, tmp_path: Path
) -> None:
    (tmp_path / "pod.yaml").write_text(TEMPLATE, "utf-8")
    options = {**kubernetes.pool.options, "template_file": str(tmp_path / "pod.yaml"), "arguments": "--grpc-port 8001"}
    del options["image"]
    pool = replace(
        kubernetes.pool, options=options, zone="z1", instance_type="a3", micros_per_hour=2_500_000, spot=True
    )
    await kubernetes.provider(pool).start("small-1", pool)
    found = (await kubernetes.pods())["small-1"]
    assert found["metadata"]["labels"] == {
        "team": "vision",
        "inferno-governator": "inferno-governator",
        "inferno-node": "small-1",
        "inferno-pool": "small",
    }
    spec = found["spec"]
    assert spec["nodeSelector"] == {
        "topology.kubernetes.io/zone": "z1",
        "node.kubernetes.io/instance-type": "a3",
    }
    node, side = spec["containers"]
    assert (node["command"], node["args"]) == (["inferno-backend"], ["--grpc-port", "8001"])
    assert {each["name"]: each.get("value", "the Pod's") for each in node["env"]} == {
        "INFERNO_BACKEND_MODEL": "mine",
        "INFERNO_BACKEND_NODE_ID": "small-1",
        "INFERNO_BACKEND_DISCOVERY_LB": "proxy.ns:8080",
        "INFERNO_BACKEND_LABELS": "inferno-pool=small",
        "INFERNO_BACKEND_PRICE_PER_HOUR": "2.5",
        "INFERNO_BACKEND_SPOT": "true",
        "INFERNO_BACKEND_HOST": "0.0.0.0",
        "INFERNO_BACKEND_ADVERTISE_HOST": "the Pod's",
    }
    assert (side["command"], node["resources"]["limits"]) == (["sleep", "inf"], {"nvidia.com/gpu": "1"})


@pytest.mark.parametrize(
    ("status", "metadata", "state", "why"),
    [
        ({"phase": "Pending"}, {}, MachineState.PENDING, ""),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}
                ],
            },
            {},
            MachineState.PENDING,
            "Unschedulable: no GPU",
        ),
        (
            {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
            {},
            MachineState.PENDING,
            "ImagePullBackOff",
        ),
        ({"phase": "Failed", "reason": "Evicted"}, {}, MachineState.STOPPED, "Evicted"),
        ({"phase": "Running"}, {"deletionTimestamp": "2026-01-01T00:00:00Z"}, MachineState.STOPPING, ""),
    ],
)
async def test_what_kubernetes_says_of_a_pod_is_told(
    kubernetes: KubernetesWorld, status: dict[str, Any], metadata: dict[str, Any], state: MachineState, why: str
) -> None:
    provider = kubernetes.provider()
    await provider.start("small-1", kubernetes.pool)
    listed = dict((await kubernetes.pods())["small-1"])
    listed.update(status=status, metadata={**listed["metadata"], **metadata})
    kubernetes.cluster[stand_in.action.LIST] << {"metadata": {}, "items": [listed]}
    (found,) = await provider.nodes()
    assert (found.state, found.why) == (state, why)


async def test_a_long_list_is_read_page_by_page(kubernetes: KubernetesWorld) -> None:
    def page(request: Any) -> Any:
        number = int(request.params.get("continue", "1"))
        more = {"continue": str(number + 1)} if number < 3 else {}
        items = [{"metadata": {"name": f"small-{number}", "labels": {"inferno-pool": "small"}}}]
        return {"metadata": more, "items": items}

    kubernetes.cluster[stand_in.action.LIST] << page
    assert [each.node for each in await kubernetes.provider().nodes()] == ["small-1", "small-2", "small-3"]


@pytest.mark.parametrize(
    ("status", "message", "reaction", "reason"),
    [
        (401, "Unauthorized", Unauthenticated, "BAD_CREDENTIALS"),
        (403, "pods is forbidden", Denied, "NOT_ALLOWED"),
        (403, 'pods "small-1" is forbidden: exceeded quota: gpus', Exhausted, "NO_CAPACITY"),
        (422, "Pod is invalid", InvalidInput, "BAD_POOL"),
        (429, "too many requests", Exhausted, "THROTTLED"),
        (500, "etcd is away", Unavailable, "PROVIDER_UNAVAILABLE"),
    ],
)
async def test_what_the_api_refuses_names_the_reaction(
    kubernetes: KubernetesWorld, status: int, message: str, reaction: type[InfernoError], reason: str
) -> None:
    refusal = stand_in.KubernetesError(status=status, reason="No", message=message)
    kubernetes.cluster[stand_in.action.CREATE] << refusal
    kubernetes.cluster[stand_in.action.LIST] << refusal
    provider = kubernetes.provider()
    for asked in (provider.start("small-1", kubernetes.pool), provider.nodes()):
        with pytest.raises(reaction, match=message.split(":", maxsplit=1)[0]) as caught:
            await asked
        assert caught.value.reason == reason


async def test_what_cannot_be_is_refused_with_one_sentence(kubernetes: KubernetesWorld, tmp_path: Path) -> None:
    provider = kubernetes.provider()
    await kubernetes.put("small-1", {"app": "other"})
    with pytest.raises(InvalidInput, match="is not ours"):
        await provider.start("small-1", kubernetes.pool)
    await provider.stop("small-1")
    assert await kubernetes.lives("small-1")
    with pytest.raises(InvalidInput, match="cannot be the name of a Pod"):
        await provider.start("Small_1", kubernetes.pool)
    (tmp_path / "broken").write_text("{", "utf-8")
    (tmp_path / "odd").write_text("spec: {containers: [{name: [1]}]}", "utf-8")
    (tmp_path / "empty").write_text("kind: Pod", "utf-8")
    for options, why in (
        ({"image": ""}, "either the option"),
        ({"image": "", "template_file": str(tmp_path / "broken")}, "cannot be read"),
        ({"image": "", "template_file": str(tmp_path / "odd")}, "is no Pod"),
        ({"image": "", "template_file": str(tmp_path / "empty")}, "no Pod with containers"),
    ):
        pool = replace(kubernetes.pool, options={**kubernetes.pool.options, **options})
        with pytest.raises(InvalidInput, match=why):
            await provider.start("small-2", pool)
    for file in ("broken", "nowhere"):
        pool = replace(kubernetes.pool, options={**kubernetes.pool.options, "kubeconfig": str(tmp_path / file)})
        with pytest.raises(Unauthenticated, match="no Kubernetes to ask"):
            await Kubernetes([pool], {}).nodes()
    with pytest.raises(Unauthenticated, match="no Kubernetes to ask"):
        await Kubernetes([replace(kubernetes.pool, options={"image": "x"})], IN_A_CLUSTER).nodes()
