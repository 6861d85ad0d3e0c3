"""A node's place in a proxy's mesh, over a real wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from inferno.registration.v1 import node_pb2
from inferno.registration.v1 import registration_service_pb2 as registration
from inferno_backend.link import PLAIN, Link
from inferno_backend.node import Condition, Endpoints, Hardware, Identity, ModelLoad, NodeState, Revised
from inferno_backend.registration import Registrar, Wish
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import AlreadyExists, Exhausted, Fenced, InfernoError, InvalidInput, Unsupported
from inferno_runtime.identity.authority import PROXY_HOST, Authority
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests import certificates
from tests.certificates import issued
from tests.integration.inferno_backend.mesh import Registry, mesh
from tests.waiting import eventually

IDENTITY = Identity("n1", 7, Hardware(1, 1), "0.1.0")
LOAD = (ModelLoad("m", 1, 2, 3, 4),)


def state(condition: Condition = Condition.SERVING) -> NodeState:
    return NodeState(condition, "", Endpoints("127.0.0.1:1"))


class Node:
    """The node's side: what it has to say, and a registrar that says it."""

    def __init__(self, address: str, clock: SystemClock, link: Link | None = PLAIN) -> None:
        self.states = Latest(Revised(1, state()))
        self.load: tuple[ModelLoad, ...] | None = LOAD
        self.links: Latest[Link | None] = Latest(link)
        self.registrar = Registrar(address, IDENTITY, self.states, lambda: self.load, clock, self.links)


@asynccontextmanager
async def registering(address: str, clock: SystemClock | None = None, link: Link | None = PLAIN) -> AsyncIterator[Node]:
    node = Node(address, clock or SystemClock(), link)
    running = asyncio.create_task(node.registrar.run())
    try:
        yield node
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_nothing_is_said_before_there_is_something_to_say() -> None:
    async with mesh() as far, registering(far.address) as node:
        node.states.set(Revised(0, state(Condition.STARTING)))
        await asyncio.sleep(0)
        assert not far.registry.nodes


async def test_a_node_is_registered_with_its_load_and_its_changes_are_sent_at_once() -> None:
    async with mesh() as far, registering(far.address) as node:
        await node.registrar.view.wait_for(lambda view: view.applied_revision == 1)
        node.states.set(Revised(2, state(Condition.DRAINING)))
        await node.registrar.view.wait_for(lambda view: view.applied_revision == 2)
        assert [revision for _, revision, _ in far.registry.nodes] == [1, 2]
        assert far.registry.node.condition == node_pb2.NODE_CONDITION_DRAINING
        assert far.registry.loads[0].models[0].queued == 1


async def test_a_heartbeat_goes_out_at_a_third_of_the_lease_and_holds_no_stale_load() -> None:
    registry = Registry()
    registry.lease_ms = 90
    async with mesh(registry=registry) as far, registering(far.address) as node:
        node.load = None
        await node.registrar.view.wait_for(lambda view: view.connected)
        loop, before = asyncio.get_running_loop(), registry.requests
        began = loop.time()
        await eventually(lambda: registry.requests >= before + 10, 5, "ten heartbeats")
        assert loop.time() - began > 0.2
        assert len(registry.nodes) == 1
        assert len(registry.loads) <= 1


async def test_the_meshs_wishes_arrive() -> None:
    async with mesh() as far, registering(far.address) as node:
        far.registry.wanted.set(
            registration.RegisterResponse(
                desired_phase=registration.DESIRED_PHASE_DRAIN,
                desired_models=[registration.DesiredModel(model="m", loaded=True, generation=3)],
            )
        )
        view = await node.registrar.view.wait_for(lambda view: view.drain)
        assert view.wishes == (Wish("m", True, 3),)


async def test_a_proxy_that_comes_later_or_comes_back_gets_the_node_and_the_log_says_so_once() -> None:
    address = f"127.0.0.1:{free_port()}"
    registry = Registry()
    with capture_logs() as told:
        async with registering(address) as node:
            await eventually(lambda: told, 5, "the first failure is told")
            async with mesh(address, registry=registry):
                await node.registrar.view.wait_for(lambda view: view.connected)
            lost = await node.registrar.view.wait_for(lambda view: not view.connected)
            assert lost.applied_revision == 1, "the last word stays"
            async with mesh(address, registry=registry):
                await eventually(lambda: len(registry.nodes) == 2, 10, "registered again")
            assert [revision for _, revision, _ in registry.nodes] == [1, 1]
    assert address in told[0]["error"]
    assert "cannot be reached" in told[0]["error"]
    assert told[0]["log_level"] == "debug", "a mesh that is starting is nothing to warn of"
    assert 1 <= len([line for line in told if line["log_level"] == "warning"]) <= 4


async def test_a_proxy_that_ends_the_stream_in_order_is_registered_with_again() -> None:
    async with mesh() as far, registering(far.address) as node:
        await node.registrar.view.wait_for(lambda view: view.connected)
        far.registry.end_streams.set(1)
        await eventually(lambda: len(far.registry.nodes) == 2, 5, "registered again")


async def test_a_goodbye_is_the_last_word() -> None:
    async with mesh() as far, registering(far.address) as node:
        await node.registrar.view.wait_for(lambda view: view.connected)
        await node.registrar.deregister(1)
        node.states.set(Revised(2, state(Condition.FAILED)))
        far.registry.end_streams.set(1)
        await node.registrar.view.wait_for(lambda view: not view.connected)
        (goodbye,) = far.registry.goodbyes
        assert (goodbye.node_id, goodbye.incarnation) == ("n1", 7)
        assert len(far.registry.nodes) == 1


async def test_a_goodbye_is_heard_to_its_end_though_the_stream_ends_before() -> None:
    class Hasty(Registry):
        answer = asyncio.Event()

        async def Deregister(self, request: Any, context: Any) -> Any:
            self.end_streams.set(1)
            await self.answer.wait()
            return await super().Deregister(request, context)

    far_side = Hasty()
    async with mesh(registry=far_side) as far, registering(far.address) as node:
        await node.registrar.view.wait_for(lambda view: view.connected)
        leaving = asyncio.create_task(node.registrar.deregister(60))
        await node.registrar.view.wait_for(lambda view: not view.connected)
        far_side.answer.set()
        await leaving
        assert len(far_side.goodbyes) == 1


async def test_no_goodbye_is_said_to_a_proxy_that_is_not_there() -> None:
    async with registering(f"127.0.0.1:{free_port()}") as node:
        await node.registrar.deregister(1)
        await asyncio.sleep(0)
        await node.registrar.deregister(1)


async def test_a_goodbye_that_fails_is_told_and_disturbs_nothing() -> None:
    address = f"127.0.0.1:{free_port()}"
    with capture_logs() as told:
        async with mesh(address) as far:
            far.registry.goodbye_refusal = InvalidInput("Not today.", reason="NOT_TODAY")
            async with registering(address) as node:
                await node.registrar.view.wait_for(lambda view: view.connected)
                await node.registrar.deregister(1)
    assert [line["error"] for line in told if line["event"] == "no goodbye"] == ["Not today."]


async def refused(error: InfernoError, *, after: bool = False, clock: SystemClock | None = None) -> InfernoError:
    """What the registrar ends with when the proxy refuses it (``after``: once it had accepted it)."""
    async with mesh() as far:
        node = Node(far.address, clock or SystemClock())
        if not after:
            far.registry.refusal = lambda: error
        running = asyncio.create_task(node.registrar.run())
        if after:
            await node.registrar.view.wait_for(lambda view: view.connected)
            far.registry.refusal = lambda: error
            far.registry.end_streams.set(1)
        async with asyncio.timeout(60):
            with pytest.raises(InfernoError) as ended:
                await running
        return ended.value


@pytest.mark.parametrize("after", [False, True])
async def test_a_newer_life_of_the_node_ends_this_one(after: bool) -> None:
    error = await refused(Fenced("A newer n1 runs on 10.0.0.8.", reason="FENCED"), after=after)
    assert isinstance(error, Fenced)
    assert error.message == "A newer n1 runs on 10.0.0.8."


async def test_a_node_the_mesh_can_never_take_ends_with_the_reason() -> None:
    error = await refused(InvalidInput("grpc_address is not routable.", reason="BAD_NODE"))
    assert error.message == "grpc_address is not routable."


async def test_a_server_that_is_no_proxy_ends_it_with_its_address() -> None:
    error = await refused(Unsupported("Method not found!", reason="UNIMPLEMENTED"))
    assert isinstance(error, InvalidInput)
    assert "is no proxy" in error.message
    assert "--discovery-lb" in error.fix


class Hasty(SystemClock):
    """A clock by which every look is a minute after the last one."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 60
        return self._now


async def test_a_name_that_stays_taken_ends_with_the_reason() -> None:
    error = await refused(AlreadyExists("n1 is taken.", reason="NODE_EXISTS"), clock=Hasty())
    assert isinstance(error, AlreadyExists)


@pytest.mark.parametrize("error", [AlreadyExists("n1 is taken.", reason="X"), Exhausted("Full.", reason="FULL")])
async def test_what_may_pass_is_tried_again(error: InfernoError) -> None:
    async with mesh() as far:
        far.registry.refusal = lambda: error
        async with registering(far.address) as node:
            await eventually(lambda: far.registry.refused >= 2, 5, "it has tried again")
            far.registry.refusal = None
            await node.registrar.view.wait_for(lambda view: view.connected)


async def test_a_refusal_after_acceptance_is_tried_again_since_it_may_be_the_proxys_fault() -> None:
    async with mesh() as far, registering(far.address) as node:
        await node.registrar.view.wait_for(lambda view: view.connected)
        far.registry.refusal = lambda: InvalidInput("Odd.", reason="ODD")
        far.registry.end_streams.set(1)
        await eventually(lambda: far.registry.refused, 5, "it was refused")
        far.registry.refusal = None
        await node.registrar.view.wait_for(lambda view: view.connected)


async def test_a_proxy_that_never_answers_is_left_and_tried_again() -> None:
    async with mesh() as far:
        far.registry.silent = True
        async with registering(far.address) as node:
            await eventually(lambda: far.registry.nodes, 5, "the node was sent")
            far.registry.silent = False
            await node.registrar.view.wait_for(lambda view: view.connected)
            assert len(far.registry.nodes) == 2


def member(authority: Authority, name: str, host: str = PROXY_HOST) -> Link:
    pair = issued(authority, name, host, now=time.time())
    return Link(authority.trusted, pair.certificate, pair.key)


def shown_to(link: Link) -> grpc.ServerCredentials:
    """What a proxy shows to members, and asks of them."""
    return grpc.ssl_server_credentials([(link.key, link.certificate)], link.authority, require_client_auth=True)


async def test_a_node_waits_until_it_has_joined_and_renews_its_certificate_without_losing_its_place() -> None:
    authority = certificates.authority(time.time())
    async with (
        mesh(tls=shown_to(member(authority, "proxy/p"))) as far,
        registering(far.address, link=None) as node,
    ):
        first, second = member(authority, "node/n1"), member(authority, "node/n1")
        seen: list[bool] = []
        node.links.set(first)
        await node.registrar.view.wait_for(lambda view: view.applied_revision == 1)

        async def follow() -> None:
            async for view in node.registrar.view.watch():
                seen.append(view.connected)  # noqa: PERF401 - it has no end

        watching = asyncio.create_task(follow())
        node.links.set(second)
        await eventually(lambda: len(far.registry.nodes) == 2, 10, "registered again, with the new certificate")
        await node.registrar.view.wait_for(lambda view: view.connected)
        watching.cancel()
        assert all(seen)
        assert [one.node_id for _, _, one in far.registry.nodes] == ["n1", "n1"]
        assert far.registry.certificates == [first.certificate, second.certificate]


@pytest.mark.parametrize("host", [PROXY_HOST, "other.example"])
async def test_a_proxy_of_another_mesh_or_another_name_is_not_believed(host: str) -> None:
    ours, theirs = certificates.authority(time.time()), certificates.authority(time.time())
    by = theirs if host == PROXY_HOST else ours
    with capture_logs() as told:
        async with (
            mesh(tls=shown_to(member(by, "proxy/p", host))) as far,
            registering(far.address, link=member(ours, "node/n1")),
        ):
            await eventually(lambda: told, 10, "it is told that the proxy cannot be reached")
            assert not far.registry.nodes
    said = "no trusted CA has signed" if by is theirs else "for another name"
    assert f"the proxy at {far.address} shows a certificate" in told[0]["error"]
    assert said in told[0]["error"]


async def test_a_proxy_in_the_clear_is_named() -> None:
    with capture_logs() as told:
        async with (
            mesh() as far,
            registering(far.address, link=member(certificates.authority(time.time()), "node/n1")),
        ):
            await eventually(lambda: told, 10, "it is told that the proxy cannot be reached")
    assert "does not speak TLS" in told[0]["error"]
