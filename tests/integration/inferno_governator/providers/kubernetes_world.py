"""A Kubernetes API on loopback: kmock, with what a cluster does beyond storing objects."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import kmock as stand_in

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.kubernetes import Kubernetes
from inferno_governator.providers.provider import Provider

PODS = "/api/v1/namespaces/ns/pods"


@attrs.define(kw_only=True)
class Cluster(stand_in.KubernetesEmulator):
    """Runs every Pod at once, keeps to label selectors, and does nothing in a dry run, as the real one."""

    async def _handle(self, request: Any) -> Any:
        if request.action == stand_in.action.CREATE:
            if request.params.get("dryRun") == "All":
                return aiohttp.web.json_response(request.data, status=201)
            metadata = request.data["metadata"]
            metadata.update(uid=str(uuid.uuid4()), creationTimestamp=datetime.now(UTC).isoformat())
            request.data["status"] = {"phase": "Running"}
        return await super()._handle(request)

    async def _serve_list(self, request: Any) -> Any:
        found: Any = await super()._serve_list(request)
        wanted = dict(each.split("=", 1) for each in request.params.get("labelSelector", "").split(",") if each)
        items = [each for each in found["items"] if wanted.items() <= each["metadata"].get("labels", {}).items()]
        return {**found, "items": items}


def kubeconfig(folder: Path, url: str) -> Path:
    """A file as kubectl writes it."""
    file = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url.rstrip("/")}}],
        "users": [{"name": "u", "user": {"token": "not-secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(json.dumps(document), "utf-8")
    return file


class KubernetesWorld:
    def __init__(self, cluster: Any, folder: Path) -> None:
        cluster.resources["v1/pods"] = stand_in.ResourceInfo()
        self.cluster = cluster
        self._file = kubeconfig(folder, str(cluster.url))
        options = {
            "namespace": "ns",
            "kubeconfig": str(self._file),
            "image": "registry.example/inferno:1",
            "discovery_lb": "proxy.ns:8080",
        }
        self.pool = Pool("small", "kubernetes", ("m",), maximum=4, act=True, options=options)

    def provider(self, *pools: Pool) -> Provider:
        return Kubernetes(pools or (self.pool,), {})

    async def pods(self) -> dict[str, dict[str, Any]]:
        async with aiohttp.ClientSession(str(self.cluster.url)) as session, session.get(PODS) as answer:
            return {each["metadata"]["name"]: each for each in (await answer.json())["items"]}

    async def foreign(self) -> str:
        return await self.put("theirs", {"app": "other"})

    async def put(self, name: str, labels: dict[str, str]) -> str:
        body = {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "x"}]}}
        async with aiohttp.ClientSession(str(self.cluster.url)) as session, session.post(PODS, json=body):
            return name

    async def lives(self, machine: str) -> bool:
        return machine in await self.pods()

    async def count(self) -> int:
        return len(await self.pods())

    async def go_away(self) -> None:
        kubeconfig(self._file.parent, "http://127.0.0.1:9")
