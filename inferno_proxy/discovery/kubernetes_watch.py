"""Follows the EndpointSlices of a service: a list, then a watch from where the list ended, again and again.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from inferno_proxy.discovery.endpoint_slices import Json, Ports, nodes_of
from inferno_proxy.discovery.kubernetes_settings import KubernetesSettings
from inferno_proxy.discovery.listing import Named
from inferno_proxy.events import EventLog
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Unavailable
from inferno_runtime.latest import Latest

# Seconds: how long the API is asked to keep one watch open, and how long it may take beyond that before the connection
# counts as dead; a watch that goes on costs one request.
_WATCH = 60
_PATIENCE = 15.0
_LIST_WITHIN = 30.0
_GONE = 410
# Where Kubernetes mounts what a pod proves itself with.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Bytes; the API's own limit of one object is about 1.5 MiB.
_LONGEST_LINE = 16 * 1024 * 1024


class _Expired(Exception):
    """The API no longer knows what has changed since the version we have: list again."""


class ServiceWatch:
    """Keeps ``named`` at what the slices say. While the API does not answer, it stays as it was."""

    def __init__(
        self,
        settings: KubernetesSettings,
        named: Latest[Named | None],
        events: EventLog,
        clock: Clock,
        env: Mapping[str, str] = os.environ,
        account: Path = ACCOUNT,
    ) -> None:
        self._settings = settings
        self._ports = Ports(settings.grpc_port, settings.http_port, settings.region)
        self._named = named
        self._events = events
        self._clock = clock
        self._env = env
        self._account = account
        self._slices: dict[str, Json] = {}
        self._version = ""
        self._told: frozenset[str] = frozenset()
        self._lost: float | None = None
        self._waits = Backoff(0.2, 10.0)

    async def run(self) -> None:
        """Follow the service until cancelled."""
        # The client's modules take 0.4 s: the event loop goes on meanwhile.
        await asyncio.to_thread(__import__, "kubernetes.aio.client")
        while True:
            try:
                async with _client(self._settings, self._env, self._account) as api:
                    while True:
                        await self._list(api)
                        await self._watch_on(api)
            except Exception as error:  # noqa: BLE001 - whatever a kubeconfig's plug-in or the client raises is the API's fault
                self._is_lost(error)
            await self._clock.sleep(self._waits.next())

    async def _watch_on(self, api: Any) -> None:
        """Watch, and watch again when the API ends a watch in order; return when a new list is needed."""
        while True:
            began = self._clock.monotonic()
            try:
                async for event in self._events_of(api):
                    self._take(event)
            except _Expired:
                return
            if self._clock.monotonic() - began < 1:
                await self._clock.sleep(self._waits.next())
            else:
                self._waits.reset()

    async def _list(self, api: Any) -> None:
        response = await self._ask(api, _LIST_WITHIN)
        async with response:
            document = await response.json(content_type=None)
        self._version = document["metadata"].get("resourceVersion", "")
        self._slices = {_key(each): each for each in document["items"]}
        if self._lost is not None:
            self._events.healed(
                "DISCOVERY_BACK",
                str(self._settings),
                cause="The Kubernetes API did not answer",
                evidence=f"{len(self._slices)} EndpointSlices were listed",
                effect="their nodes are followed again",
                seconds=self._clock.monotonic() - self._lost,
            )
            self._lost = None
        self._waits.reset()
        self._show()

    async def _events_of(self, api: Any) -> AsyncIterator[Json]:
        watching = {"watch": True, "allow_watch_bookmarks": True, "timeout_seconds": _WATCH}
        response = await self._ask(api, _WATCH + _PATIENCE, resource_version=self._version, **watching)
        async with response:
            async for line in _lines(response.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == _GONE:
                        raise _Expired
                    raise _answered(event["object"].get("code"), event["object"].get("message"))
                yield event

    async def _ask(self, api: Any, within: float, **parameters: Any) -> aiohttp.ClientResponse:
        response: aiohttp.ClientResponse = await api.list_namespaced_endpoint_slice_without_preload_content(
            self._settings.namespace,
            label_selector=self._settings.label_selector,
            _request_timeout=within,
            **parameters,
        )
        if response.status == _GONE:
            response.release()
            raise _Expired
        if response.status != 200:
            async with response:
                raise _answered(response.status, await response.text())
        return response

    def _take(self, event: Json) -> None:
        """Carry out one event of a watch."""
        each = event["object"]
        self._version = each["metadata"].get("resourceVersion", self._version)
        if event["type"] == "DELETED":
            self._slices.pop(_key(each), None)
        elif event["type"] in ("ADDED", "MODIFIED"):
            self._slices[_key(each)] = each
        else:
            # A bookmark: nothing but the version that was seen last.
            return
        self._show()

    def _show(self) -> None:
        found = nodes_of(self._slices.values(), self._ports)
        for problem in sorted(frozenset(found.problems) - self._told):
            self._events.add("DISCOVERY_REFUSED", str(self._settings), problem)
        self._told = frozenset(found.problems)
        self._named.set(found.named)

    def _is_lost(self, error: Exception) -> None:
        """Say once that the API does not answer."""
        if self._lost is not None:
            return
        self._lost = self._clock.monotonic()
        self._events.healed(
            "DISCOVERY_LOST",
            str(self._settings),
            cause="The Kubernetes API does not answer",
            evidence=(str(error) or type(error).__name__)[:500].rstrip("."),
            effect="it names no nodes yet" if self._named.value is None else "the nodes of before stay",
        )


def _key(each: Json) -> str:
    return str(each["metadata"]["name"])


def _answered(code: object, text: object) -> Unavailable:
    try:
        said = json.loads(str(text))["message"]
    except (ValueError, KeyError, TypeError):
        said = text
    return Unavailable(f"It answers {code}: {' '.join(str(said).split())[:300]}", reason="KUBERNETES_API")


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream; the reader's own method stops at a line that is longer than its buffer."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(rest) > _LONGEST_LINE:
            raise Unavailable(f"It sent a line of more than {_LONGEST_LINE >> 20} MiB", reason="KUBERNETES_API")


@asynccontextmanager
async def _client(settings: KubernetesSettings, env: Mapping[str, str], account: Path) -> AsyncIterator[Any]:
    """The API that the settings name: of a kubeconfig, else of the cluster this runs in, else of kubectl's own file."""
    from kubernetes.aio import client, config
    from kubernetes.aio.config.incluster_config import InClusterConfigLoader

    untyped: Any = config
    if settings.kubeconfig is None and "KUBERNETES_SERVICE_HOST" in env:
        chosen = client.Configuration()
        loader: Any = InClusterConfigLoader
        loader(str(account / "token"), str(account / "ca.crt"), environ=env).load_and_set(chosen)
        made = client.ApiClient(chosen)
    else:
        file = None if settings.kubeconfig is None else str(settings.kubeconfig)
        made = await untyped.new_client_from_config(file, settings.context or None, persist_config=False)
    async with made as session:
        yield client.DiscoveryV1Api(session)
