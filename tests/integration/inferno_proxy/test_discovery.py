"""Nodes without an agent: read, watched and followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from inferno_proxy.discovery.listing import Listing
from inferno_proxy.discovery.probe import Pace, Prober
from inferno_proxy.discovery.reading import Reader
from inferno_proxy.discovery.static import static_nodes
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Member, Model, Phase, Source
from inferno_proxy.registry.lease import Terms
from inferno_proxy.registry.membership import Record
from inferno_proxy.registry.registry import Registry
from inferno_runtime import rpc
from inferno_runtime.clock import SystemClock
from inferno_runtime.latest import Latest
from tests.integration.inferno_proxy.tritons import Served, triton
from tests.unit.inferno_proxy.nodes import node
from tests.waiting import eventually


def listing(registry: Registry, *backends: str) -> Listing:
    clock = SystemClock()
    return Listing(Source.STATIC, Latest(static_nodes(backends)), registry, clock, EventLog(clock))


@asynccontextmanager
async def watched(*backends: str) -> AsyncIterator[Registry]:
    """A registry whose nodes are probed; ``backends`` are listed in it."""
    clock = SystemClock()
    registry = Registry(Terms(), clock, EventLog(clock))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(Prober(registry, clock, Pace(shortest=0.05, timeout=0.3)).run()),
            group.create_task(listing(registry, *backends).run()),
        ]
        yield registry
        for task in tasks:
            task.cancel()


def only(registry: Registry) -> Member:
    [member] = registry.view.value.members.values()
    return member


def models(registry: Registry) -> dict[str, Model]:
    members = registry.view.value.members.values()
    return {one.name: one for member in members for one in member.node.models}


async def test_a_listed_servers_models_are_read_with_their_properties() -> None:
    async with triton() as server:
        server.models = {
            "m": Served(stateful=True, max_batch_size=8, instances=2),
            "d": Served(decoupled=True),
            "broken": Served("UNAVAILABLE", "no such file"),
            "never": Served("", version=""),
        }
        async with watched(str(server.address)) as registry:
            await eventually(lambda: models(registry).get("m"), 3, "the models are read")
            found = models(registry)
            assert set(found) == {"m", "d", "broken"}
            assert (found["m"].stateful, found["m"].max_batch_size, found["m"].instance_count) == (True, 8, 2)
            assert found["d"].decoupled
            assert (found["broken"].ready, found["broken"].versions[0].reason) == (False, "no such file")
            assert only(registry).node.server_version == "triton 2.51"
            assert (only(registry).source, only(registry).phase) == (Source.STATIC, Phase.SERVING)


async def test_a_model_that_gets_ready_is_seen_at_the_next_look() -> None:
    async with triton() as server, watched(str(server.address)) as registry:
        server.models["late"] = Served("LOADING")
        await eventually(lambda: "late" in models(registry), 3, "the model is loading")
        for state in ("READY", "UNAVAILABLE"):
            looks = server.calls["RepositoryIndex"]
            server.models["late"].state = state
            ready = state == "READY"
            await eventually(lambda ready=ready: models(registry)["late"].ready is ready, 3, state)
            # One may be under way, and one more may begin before the test sees what the last one brought.
            assert server.calls["RepositoryIndex"] <= looks + 3


async def test_what_does_not_change_is_asked_once() -> None:
    async with triton() as server, watched(str(server.address)):
        await eventually(lambda: server.calls.get("RepositoryIndex", 0) > 5, 3, "the server is polled")
        assert server.calls["ModelConfig"] == server.calls["ServerMetadata"] == 1


async def test_everything_is_read_anew_now_and_then() -> None:
    async with triton() as server, rpc.channel(str(server.address)) as channel:
        reader = Reader(channel)
        for _ in range(101):
            await reader.read(1)
        assert server.calls["ModelConfig"] == server.calls["ServerMetadata"] == 2


async def test_a_server_that_does_not_answer_fails_and_one_that_comes_back_serves() -> None:
    async with triton() as server, watched(str(server.address)) as registry:
        await eventually(lambda: models(registry), 3, "the models are read")
        assert server.server is not None
        await server.server.stop(0)
        await eventually(lambda: only(registry).phase is Phase.FAILED, 3, "the server has failed")
        assert "cannot be reached" in only(registry).reason
        async with triton(server.address.port):
            await eventually(lambda: only(registry).phase is Phase.SERVING, 5, "the server serves")


@pytest.mark.parametrize(
    ("code", "word"), [(grpc.StatusCode.DEADLINE_EXCEEDED, "in time"), (grpc.StatusCode.INTERNAL, "INTERNAL")]
)
async def test_a_server_that_answers_wrongly_fails_with_the_evidence(code: grpc.StatusCode, word: str) -> None:
    async with triton() as server:
        server.fails["RepositoryIndex"] = code
        async with watched(str(server.address)) as registry:
            await eventually(lambda: registry.view.value.members and only(registry).phase is Phase.FAILED, 3, "failed")
            assert word in only(registry).reason


async def test_a_server_without_an_index_is_asked_for_the_models_it_was_announced_with() -> None:
    async with triton() as server, watched() as registry:
        server.models["n"] = Served("UNAVAILABLE")
        server.fails["RepositoryIndex"] = server.fails["ModelConfig"] = grpc.StatusCode.UNIMPLEMENTED
        named = (Model("m"), Model("n"))
        registry.join(node(port=server.address.port, models=named), Source.ANNOUNCED, 30, attached=False)
        await eventually(lambda: models(registry)["m"].ready, 3, "the named model is ready")
        assert not models(registry)["n"].ready


async def test_without_an_index_and_without_names_nothing_can_be_read() -> None:
    async with triton() as server:
        server.fails["RepositoryIndex"] = grpc.StatusCode.UNIMPLEMENTED
        async with rpc.channel(str(server.address)) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await Reader(channel).read(1)


async def test_a_model_whose_configuration_fails_fails_the_look() -> None:
    async with triton() as server:
        server.fails["ModelConfig"] = grpc.StatusCode.INTERNAL
        async with rpc.channel(str(server.address)) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await Reader(channel).read(1)


async def test_a_node_whose_agent_is_lost_is_watched_until_the_agent_returns() -> None:
    async with triton() as server, watched() as registry:
        lost = node(port=server.address.port, models=())
        registry.restore(Record(lost, Source.AGENT, 0), 3)
        await eventually(lambda: models(registry), 5, "the lost node is read")
        assert only(registry).phase is Phase.UNMANAGED
        lease = registry.join(node(port=server.address.port, models=(Model("agents"),)))
        lease.renew()
        await eventually(lambda: "probe-a" not in {t.get_name() for t in asyncio.all_tasks()}, 1, "nobody looks at it")
        assert set(models(registry)) == {"agents"}


async def test_a_name_is_looked_up_and_followed_and_an_unknown_one_is_tried_again() -> None:
    async with triton() as server, watched(f"localhost:{server.address.port}", "no-such-host.invalid:1") as registry:
        await eventually(lambda: models(registry), 3, "the models are read")
        assert only(registry).node.grpc_address.host == "127.0.0.1"


async def test_a_listed_server_that_was_remembered_keeps_what_was_read() -> None:
    clock = SystemClock()
    registry = Registry(Terms(), clock, EventLog(clock))
    named = static_nodes(["127.0.0.1:8001:8000"])
    (listed,) = named.nodes.values()
    registry.restore(Record(listed, Source.STATIC, 0), 3)
    registry.observe(listed.node_id, 1, (Model("m"),), "triton")
    await Listing(Source.STATIC, Latest(named), registry, clock, EventLog(clock)).follow(named)
    assert [m.name for m in only(registry).node.models] == ["m"]
    assert only(registry).node.http_address == listed.http_address
