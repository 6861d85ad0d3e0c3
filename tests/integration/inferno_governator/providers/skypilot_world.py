"""What SkyPilot's SDK (0.14.1) offers of what is used, with its signatures; SkyPilot itself is too heavy to install."""

from __future__ import annotations

import itertools
import time
from typing import Any

from ruamel.yaml import YAML

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.provider import Provider
from inferno_governator.providers.skypilot import SkyPilot


class ApiServerConnectionError(RuntimeError):
    """As sky.exceptions has it."""


class _Task:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @staticmethod
    def from_yaml_config(config: dict[str, Any]) -> _Task:
        return _Task(config)


class Sdk:
    """The module ``sky``: every call answers with the id of a request."""

    Task = _Task

    def __init__(self) -> None:
        self.clusters: dict[str, dict[str, Any]] = {}
        self.launches = 0
        self.error: Exception | None = None
        self._results: dict[str, Any] = {}
        self._ids = itertools.count()

    def get(self, request_id: str) -> Any:
        return self._results.pop(request_id)

    def launch(self, task: _Task, cluster_name: str | None = None, *, dryrun: bool = False) -> str:
        if not dryrun and self.error is None:
            assert cluster_name is not None
            self.launches += 1
            self.put(cluster_name, task.config)
        return self._request((None, None))

    def down(self, cluster_name: str) -> str:
        del self.clusters[cluster_name]
        return self._request(None)

    def status(self, cluster_names: list[str] | None = None) -> str:
        return self._request(
            [each for name, each in self.clusters.items() if cluster_names is None or name in cluster_names]
        )

    def put(self, name: str, task: dict[str, Any]) -> None:
        import io

        text = io.StringIO()
        YAML(typ="safe", pure=True).dump(task, text)
        self.clusters[name] = {
            "name": name,
            "launched_at": int(time.time()),
            "status": "UP",
            "cluster_hash": f"h-{name}-{self.launches}",
            "last_creation_yaml": text.getvalue(),
            "region": "us-east-1",
        }

    def _request(self, result: Any) -> str:
        if self.error is not None:
            raise self.error
        name = str(next(self._ids))
        self._results[name] = result
        return name


class SkyPilotWorld:
    def __init__(self) -> None:
        self.sdk = Sdk()
        self.pool = Pool("small", "skypilot", ("m",), maximum=4, act=True, options={"accelerators": "L4:1"})

    def provider(self, *pools: Pool) -> Provider:
        return SkyPilot(pools or (self.pool,), self.sdk)

    async def foreign(self) -> str:
        self.sdk.put("theirs", {"name": "theirs", "resources": {"labels": {"team": "other"}}})
        return "theirs"

    async def lives(self, machine: str) -> bool:
        return machine in self.sdk.clusters

    async def count(self) -> int:
        return len(self.sdk.clusters)

    async def go_away(self) -> None:
        self.sdk.error = ApiServerConnectionError("Could not connect to SkyPilot API server")
