"""Registration over a real gRPC connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferno.registration.v1 import registration_service_pb2 as wire
from inferno.registration.v1 import registration_service_pb2_grpc as stubs
from inferno_proxy.fleet import Phase, Source
from inferno_proxy.services.node_wire import node_to_wire
from inferno_runtime import rpc
from tests.integration.inferno_proxy.control import Control, control
from tests.unit.inferno_proxy.nodes import model, node
from tests.waiting import eventually

Call = Any


def first(node_id: str = "a", incarnation: int = 1, revision: int = 1, **fields: Any) -> wire.RegisterRequest:
    return wire.RegisterRequest(node=node_to_wire(node(node_id, incarnation, **fields)), revision=revision)


async def register(plane: Control, request: wire.RegisterRequest) -> Call:
    """Open a stream, send the first request and take the first response."""
    call = stubs.RegistrationServiceStub(plane.channel).Register()
    await call.write(request)
    await call.read()
    return call


def phase(plane: Control, node_id: str = "a") -> Phase | None:
    member = plane.registry.view.value.members.get(node_id)
    return member.phase if member else None


async def status_of(call: Call) -> grpc.StatusCode:
    """The status a stream ends with."""
    code: grpc.StatusCode = await call.code()
    return code


async def test_the_first_answer_comes_at_once_and_says_how_long_the_lease_is(plane: Control) -> None:
    call = stubs.RegistrationServiceStub(plane.channel).Register()
    await call.write(first())
    answer: Any = await call.read()
    assert (answer.lease_duration.seconds, answer.desired_phase) == (3, wire.DESIRED_PHASE_SERVE)
    assert phase(plane) is Phase.SERVING
    call.cancel()


async def test_heartbeats_bring_load_and_changes_bring_models(plane: Control) -> None:
    call = await register(plane, first())
    beat = wire.RegisterRequest()
    beat.load.models.add(model="m", queued=5)
    await call.write(beat)
    await eventually(lambda: plane.registry.member("a").load, 2, "the load has come")
    await call.write(first(revision=2, models=(model("n"),)))
    await eventually(lambda: plane.registry.member("a").node.models == (model("n"),), 2, "the change has come")
    call.cancel()


async def test_a_load_may_come_with_the_first_word(plane: Control) -> None:
    request = first()
    request.load.models.add(model="m", queued=1)
    call = await register(plane, request)
    assert plane.registry.member("a").load is not None
    call.cancel()


async def test_what_the_mesh_wants_travels_down_the_stream(plane: Control) -> None:
    call = await register(plane, first())
    plane.registry.drain("a")
    assert (await call.read()).desired_phase == wire.DESIRED_PHASE_DRAIN
    plane.registry.want_model("m", loaded=False)
    [desired] = (await call.read()).desired_models
    assert (desired.model, desired.loaded, desired.generation) == ("m", False, 1)
    plane.registry.applied({"a": (1, 1)})
    assert (await call.read()).applied_revision == 1
    call.cancel()


async def test_the_end_of_a_stream_is_no_goodbye(socket_dir: Path) -> None:
    async with control(socket_dir, lease=0.5) as plane:
        call = await register(plane, first())
        await call.done_writing()
        await eventually(lambda: phase(plane) is Phase.UNMANAGED, 3, "the lease has ended")
        call.cancel()
        await eventually(lambda: not plane.registry.records()[0][0].attached, 2, "the stream is known to be gone")
        assert phase(plane) is Phase.UNMANAGED


async def test_a_client_that_vanishes_is_detached_and_its_node_serves_on(plane: Control) -> None:
    call = await register(plane, first())
    assert plane.registry.records()[0][0].attached
    call.cancel()
    await eventually(lambda: not plane.registry.records()[0][0].attached, 2, "the stream is known to be gone")
    assert phase(plane) is Phase.SERVING


async def test_a_newer_life_ends_the_stream_of_the_older(plane: Control) -> None:
    old = await register(plane, first(incarnation=1))
    new = await register(plane, first(incarnation=2))
    assert await status_of(old) is grpc.StatusCode.FAILED_PRECONDITION
    zombie = stubs.RegistrationServiceStub(plane.channel).Register()
    await zombie.write(first(incarnation=1))
    assert await status_of(zombie) is grpc.StatusCode.FAILED_PRECONDITION
    new.cancel()


async def test_a_malformed_first_word_is_refused_with_the_field(plane: Control) -> None:
    async def nothing() -> AsyncIterator[wire.RegisterRequest]:
        return
        yield  # what makes this a generator

    for requests in ([wire.RegisterRequest()], [first(node_id="a b")], None):
        call = stubs.RegistrationServiceStub(plane.channel).Register(iter_of(requests) if requests else nothing())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "field" in rpc.error_from_rpc(refused.value, "the control plane").metadata
    assert not plane.registry.view.value.members


async def iter_of(requests: list[wire.RegisterRequest]) -> AsyncIterator[wire.RegisterRequest]:
    for request in requests:
        yield request


async def test_a_malformed_change_ends_the_stream_and_the_last_good_word_stays(plane: Control) -> None:
    call = await register(plane, first())
    await call.write(first(revision=2, models=(model("a b"),)))
    assert await status_of(call) is grpc.StatusCode.INVALID_ARGUMENT
    assert plane.registry.member("a").node.models == (model(),)


async def test_a_host_name_is_resolved_and_one_that_does_not_resolve_is_refused(plane: Control) -> None:
    request = first()
    request.node.grpc_address, request.node.http_address = "localhost:8001", "localhost:8000"
    call = await register(plane, request)
    assert plane.registry.member("a").node.grpc_address.host == "127.0.0.1"
    call.cancel()
    request.node.node_id, request.node.grpc_address = "b", "no-such-host.invalid:8001"
    refused = stubs.RegistrationServiceStub(plane.channel).Register()
    await refused.write(request)
    assert await status_of(refused) is grpc.StatusCode.INVALID_ARGUMENT


async def test_every_stream_ends_with_unavailable_when_the_control_plane_stops(plane: Control) -> None:
    call = await register(plane, first())
    plane.registry.close()
    assert await status_of(call) is grpc.StatusCode.UNAVAILABLE


async def test_a_node_without_agent_is_announced_renewed_and_deregistered(plane: Control) -> None:
    stub = stubs.RegistrationServiceStub(plane.channel)
    request = wire.AnnounceRequest(node=node_to_wire(node(incarnation=0)))
    answer = await stub.Announce(request)
    assert (answer.node_id, answer.lease_duration.seconds) == ("a", 30)
    assert answer.incarnation > 10**18
    plane.registry.observe("a", answer.incarnation, (model("read"),), "triton")
    request.node.ClearField("models")
    request.lease_duration.seconds = 60
    again = await stub.Announce(request)
    assert (again.incarnation, again.lease_duration.seconds) == (answer.incarnation, 60)
    member = plane.registry.member("a")
    assert (member.source, member.node.models, member.node.server_version) == (
        Source.ANNOUNCED,
        (model("read"),),
        "triton",
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Deregister(wire.DeregisterRequest(node_id="a", incarnation=1))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    await stub.Deregister(wire.DeregisterRequest(node_id="a", incarnation=answer.incarnation))
    assert phase(plane) is None


@pytest.mark.parametrize("seconds", [0, 86_401])
async def test_an_announcement_for_no_time_or_for_ever_is_refused(plane: Control, seconds: int) -> None:
    request = wire.AnnounceRequest(node=node_to_wire(node()))
    request.lease_duration.seconds = seconds
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stubs.RegistrationServiceStub(plane.channel).Announce(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_announcement_needs_a_node_and_a_free_name(plane: Control) -> None:
    stub = stubs.RegistrationServiceStub(plane.channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Announce(wire.AnnounceRequest())
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    call = await register(plane, first())
    with pytest.raises(grpc.aio.AioRpcError) as taken:
        await stub.Announce(wire.AnnounceRequest(node=node_to_wire(node(incarnation=9))))
    assert taken.value.code() is grpc.StatusCode.ALREADY_EXISTS
    call.cancel()


async def test_two_hundred_heartbeats_a_second_from_many_nodes_change_nothing_but_load(plane: Control) -> None:
    calls = [await register(plane, first(f"n{i}", port=100 + i)) for i in range(20)]
    serial = plane.registry.view.value.serial
    beat = wire.RegisterRequest()
    beat.load.models.add(model="m", queued=5)
    for _ in range(10):
        await asyncio.gather(*(call.write(beat) for call in calls))
    await eventually(lambda: all(m.load is not None for m in plane.registry.members()), 3, "every node's load has come")
    assert plane.registry.view.value.serial == serial
    for call in calls:
        call.cancel()


async def test_a_stream_that_says_nothing_is_ended_and_may_come_again(plane: Control) -> None:
    call: Any = stubs.RegistrationServiceStub(plane.channel).Register()
    assert await call.code() is grpc.StatusCode.UNAVAILABLE
