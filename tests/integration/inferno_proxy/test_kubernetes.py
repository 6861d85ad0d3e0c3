"""Nodes of a Kubernetes service, read with the official client from a stand-in of the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import certifi
import kmock as stand_in
import pydantic
import pytest

from inferno_proxy.discovery.kubernetes_settings import KubernetesSettings, require_client
from inferno_proxy.discovery.kubernetes_watch import ACCOUNT, ServiceWatch
from inferno_proxy.discovery.listing import Named
from inferno_proxy.discovery.sources import Discovery
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import NodeCondition, Phase, Source
from inferno_proxy.registry.lease import Terms
from inferno_proxy.registry.membership import Record
from inferno_proxy.registry.registry import Registry
from inferno_proxy.settings import ProxySettings
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.integration.inferno_proxy.envoy.world import Server, serving
from tests.unit.inferno_proxy.discovery.test_endpoint_slices import endpoint, piece
from tests.unit.inferno_proxy.nodes import node
from tests.waiting import eventually

SLICES = "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices"


CLOCK = SystemClock()


class LeapingClock(SystemClock):
    """Between any two looks at it, two seconds pass."""

    def __init__(self) -> None:
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return super().monotonic() + 2 * self.looks


class World:
    """A watch of one service, and what it found."""

    def __init__(
        self, kubeconfig: Path | None, env: dict[str, str] | None = None, account: Path = ACCOUNT, clock: Clock = CLOCK
    ) -> None:
        self.clock = clock
        self.events = EventLog(self.clock)
        self.named: Latest[Named | None] = Latest(None)
        settings = KubernetesSettings(namespace="ns", service="triton", kubeconfig=kubeconfig)
        self.watch = ServiceWatch(settings, self.named, self.events, self.clock, env or {}, account)

    @property
    def nodes(self) -> set[str]:
        return set(self.named.value.nodes) if self.named.value else set()

    def condition(self, pod: str) -> NodeCondition:
        assert self.named.value is not None
        return self.named.value.nodes[pod].condition

    def said(self, kind: str) -> list[str]:
        return [each.message for each in self.events.kept if each.kind == kind]


@asynccontextmanager
async def following(world: World) -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(world.watch.run())
        yield world
        task.cancel()


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
    file.write_text(json.dumps(document))
    return file


@pytest.fixture
def world(kmock: stand_in.KubernetesEmulator, tmp_path: Path) -> World:
    kmock.resources["discovery.k8s.io/v1/endpointslices"] = stand_in.ResourceInfo()
    return World(kubeconfig(tmp_path, str(kmock.url)))


async def test_pods_come_change_and_go_as_the_api_says(kmock: stand_in.KubernetesEmulator, world: World) -> None:
    async with following(world), aiohttp.ClientSession(str(kmock.url)) as api:
        await eventually(lambda: world.named.value is not None, 10, "the empty service is listed")
        await api.post(SLICES, json=piece("one", endpoint(pod="a")))
        await eventually(lambda: world.nodes == {"a"}, 10, "the pod is there")
        await api.post(SLICES, json=piece("two", endpoint("10.0.0.2", "b")))
        await eventually(lambda: world.nodes == {"a", "b"}, 10, "both are there")
        leaving = piece("one", endpoint(pod="a", conditions={"ready": False, "serving": True, "terminating": True}))
        await api.patch(f"{SLICES}/one", json=leaving, headers={"content-type": "application/merge-patch+json"})
        await eventually(lambda: world.condition("a") is NodeCondition.DRAINING, 10, "the pod ends")
        await api.delete(f"{SLICES}/one")
        await eventually(lambda: world.nodes == {"b"}, 10, "the pod is gone")
    asked: Any = kmock[0]
    assert asked.params["labelSelector"] == "kubernetes.io/service-name=triton"
    assert {name.lower(): value for name, value in asked.headers.items()}["authorization"] == "Bearer not-secret"


def listed(version: str, *slices: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}, "items": list(slices)}


def event(kind: str, version: str, name: str = "one", pod: str = "a") -> dict[str, Any]:
    one = piece(name, endpoint(pod=pod))
    return {"type": kind, "object": {**one, "metadata": {**one["metadata"], "resourceVersion": version}}}


GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}


class Script:
    """The API's answers in turn: each watch is a list of events, or an error; after the last one it stays open."""

    def __init__(self, kmock: stand_in.KubernetesEmulator, lists: list[Any], watches: list[Any]) -> None:
        self.lists, self.watches = lists, watches
        self.versions: list[str | None] = []
        kmock[stand_in.action.LIST] << self._list
        kmock[stand_in.action.WATCH] << self._watch

    def _list(self, _: Any) -> Any:
        return self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]

    def _watch(self, request: Any) -> Any:
        self.versions.append(request.params.get("resourceVersion"))
        answer = self.watches.pop(0) if self.watches else []
        return self._stream(answer) if isinstance(answer, list) else answer

    async def _stream(self, events: list[Any]) -> AsyncIterator[Any]:
        for each in events:
            yield each
        if not self.watches:
            yield b""
            await asyncio.Event().wait()


async def test_a_watch_that_ends_goes_on_from_the_last_bookmark_and_one_that_is_too_old_lists_again(
    kmock: stand_in.KubernetesEmulator, world: World
) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    script = Script(
        kmock,
        [listed("5"), listed("20", piece("new", endpoint(pod="z")))],
        [[event("ADDED", "7"), bookmark], [event("ADDED", "11", "two", "b")], [GONE], []],
    )
    async with following(world):
        await eventually(lambda: world.nodes == {"z"}, 10, "it is listed again")
        await eventually(lambda: len(script.versions) == 4, 10, "it is watched again")
    assert script.versions == ["5", "9", "11", "20"]
    assert world.events.kept == ()


async def test_a_version_that_is_too_old_may_be_said_by_the_status_and_a_long_watch_goes_on_at_once(
    kmock: stand_in.KubernetesEmulator, tmp_path: Path
) -> None:
    world = World(kubeconfig(tmp_path, str(kmock.url)), clock=LeapingClock())
    gone = stand_in.KubernetesError(status=410, reason="Expired", message="too old")
    Script(kmock, [listed("5"), listed("20", piece("new", endpoint(pod="z")))], [[b"\n"], gone, []])
    async with following(world):
        await eventually(lambda: world.nodes == {"z"}, 10, "it is listed again")
    assert world.said("DISCOVERY_LOST") == []


async def test_an_api_that_does_not_answer_changes_nothing_and_is_named_once(
    kmock: stand_in.KubernetesEmulator, world: World
) -> None:
    forbidden = stand_in.KubernetesError(status=403, reason="Forbidden", message="endpointslices is forbidden")
    broken = {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is away"}}
    Script(kmock, [listed("5", piece("s", endpoint(pod="a"))), forbidden, forbidden, listed("6")], [[broken], []])
    async with following(world):
        await eventually(lambda: world.said("DISCOVERY_BACK"), 20, "it is back")
        assert world.nodes == set()
    assert world.said("DISCOVERY_LOST") == [
        "The Kubernetes API does not answer (It answers 500: etcd is away): the nodes of before stay."
    ]


async def test_what_the_api_refuses_is_said(kmock: stand_in.KubernetesEmulator, world: World) -> None:
    forbidden = stand_in.KubernetesError(status=403, reason="Forbidden", message="endpointslices is forbidden")
    Script(kmock, [forbidden], [])
    async with following(world):
        await eventually(lambda: world.said("DISCOVERY_LOST"), 10, "it is refused")
    assert world.said("DISCOVERY_LOST") == [
        "The Kubernetes API does not answer (It answers 403: endpointslices is forbidden): it names no nodes yet."
    ]


async def test_without_a_cluster_to_ask_there_are_no_nodes(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("{")
    for world in (World(tmp_path / "broken"), World(None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})):
        async with following(world):
            await eventually(lambda: world.said("DISCOVERY_LOST"), 10, "it is said")  # noqa: B023 - awaited here
        assert world.named.value is None


async def test_in_a_cluster_its_own_account_is_used(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("not-secret")
    (tmp_path / "ca.crt").write_text(Path(certifi.where()).read_text())
    port = free_port()
    env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
    world = World(None, env, tmp_path)
    async with following(world):
        await eventually(lambda: world.said("DISCOVERY_LOST"), 10, "nobody is there")
    assert f"Cannot connect to host 127.0.0.1:{port} ssl" in world.said("DISCOVERY_LOST")[0]


@pytest.mark.parametrize("fields", [{}, {"service": "s", "selector": "a=b"}])
def test_a_service_or_a_selector_is_named(fields: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError, match="give either service or selector"):
        KubernetesSettings(namespace="ns", **fields)
    by_label = KubernetesSettings(namespace="ns", selector="a=b")
    assert (by_label.label_selector, str(by_label)) == ("a=b", "ns/a=b")


async def test_slices_that_cannot_be_used_are_named_once(kmock: stand_in.KubernetesEmulator, world: World) -> None:
    wrong = piece("s", endpoint(pod="a"), ports=[])
    Script(kmock, [listed("5", wrong)], [[event("ADDED", "6", "two", "b"), event("ADDED", "7", "three", "c")]])
    async with following(world):
        await eventually(lambda: world.nodes == {"b", "c"}, 10, "the others are there")
    assert len(world.said("DISCOVERY_REFUSED")) == 1


async def test_a_line_may_be_long_but_not_without_end(kmock: stand_in.KubernetesEmulator, world: World) -> None:
    many = piece("s", *(endpoint(f"10.0.{n >> 8}.{n & 255}", f"p{n}") for n in range(2000)))
    Script(kmock, [listed("5")], [[{"type": "ADDED", "object": many}, b"x" * (17 * 1024 * 1024)], []])
    async with following(world):
        await eventually(lambda: len(world.nodes) == 2000, 20, "all are there")
        await eventually(lambda: world.said("DISCOVERY_LOST"), 20, "it ends")
    assert "a line of more than 16 MiB" in world.said("DISCOVERY_LOST")[0]


async def test_pods_are_nodes_of_the_mesh_and_a_pod_that_ends_gets_no_new_calls(
    kmock: stand_in.KubernetesEmulator, tmp_path: Path
) -> None:
    kmock.resources["discovery.k8s.io/v1/endpointslices"] = stand_in.ResourceInfo()
    asked = {"namespace": "ns", "service": "triton", "kubeconfig": kubeconfig(tmp_path, str(kmock.url))}
    settings, clock = ProxySettings.model_validate({"kubernetes": asked}), SystemClock()
    settings.refuse_what_is_missing()
    events = EventLog(clock)
    registry = Registry(Terms(), clock, events)
    discovery = Discovery(settings, registry, clock, events)
    assert discovery.remembers(Record(node(), Source.KUBERNETES, 0))
    assert not discovery.remembers(Record(node(), Source.FILE, 0))

    def phase(pod: str) -> Phase | None:
        member = registry.view.value.members.get(pod)
        return member.phase if member and member.source is Source.KUBERNETES else None

    # A pod that answers: one that does not is called failed, whatever Kubernetes says of it.
    async with (
        serving(Server("a")) as server,
        asyncio.TaskGroup() as group,
        aiohttp.ClientSession(str(kmock.url)) as api,
    ):
        task = group.create_task(discovery.run())
        ending = endpoint(server.address.host, "a", conditions={"terminating": True})
        ports = [{"name": "grpc", "port": server.address.port}, {"name": "http", "port": server.http.port}]
        await api.post(SLICES, json=piece("one", ending, ports=ports))
        await eventually(lambda: phase("a") is Phase.DRAINING, 10, "the pod ends")
        await api.delete(f"{SLICES}/one")
        await eventually(lambda: "not name it any more" in registry.member("a").reason, 10, "the pod has left")
        task.cancel()


def test_without_the_client_the_sentence_says_how_to_install_it() -> None:
    require_client()
    with pytest.raises(InvalidInput, match=r"needs the Kubernetes client.*not installed"):
        require_client(lambda _: None)
