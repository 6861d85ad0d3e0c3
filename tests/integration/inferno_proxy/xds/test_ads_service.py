"""The ADS service on a real gRPC server, with plain gRPC clients."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy_data_plane.envoy.config.core.v3 import Node
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest

from inferno_proxy.publishing.snapshot import Dialect, Resource, ResourceType
from inferno_proxy.xds.ads_service import SERVICE
from inferno_runtime import rpc
from inferno_runtime.latest import Latest
from tests.integration.inferno_proxy.xds.world import ControlPlane, cluster, endpoints, snapshot
from tests.waiting import eventually

CDS = ResourceType.CLUSTER.value
DELTA, SOTW = f"/{SERVICE}/DeltaAggregatedResources", f"/{SERVICE}/StreamAggregatedResources"
Call = grpc.aio.StreamStreamCall[bytes, bytes]


def first(node: str) -> bytes:
    return bytes(DeltaDiscoveryRequest(node=Node(id=node, user_agent_name="envoy"), type_url=CDS))


@pytest.fixture
async def control(socket_dir: Path) -> AsyncIterator[ControlPlane]:
    made = snapshot(1, (ResourceType.CLUSTER, cluster("c")), (ResourceType.ENDPOINT, endpoints("c", [1])))
    async with ControlPlane(f"unix:{socket_dir}/xds.sock", Latest({Dialect.ENVOY: made})) as plane:
        yield plane


@pytest.fixture
async def channel(control: ControlPlane) -> AsyncIterator[grpc.aio.Channel]:
    async with rpc.channel(control.address) as made:
        yield made


def opened(channel: grpc.aio.Channel, method: str = DELTA) -> Call:
    make: Any = channel.stream_stream(method)
    call: Call = make()
    return call


async def answered(call: Call) -> bytes:
    raw = await call.read()
    assert isinstance(raw, bytes), raw
    return raw


async def test_streams_that_come_and_go_leave_nothing_behind(control: ControlPlane, channel: grpc.aio.Channel) -> None:
    async def visit(number: int) -> None:
        call = opened(channel)
        await call.write(first(f"client-{number}"))
        await answered(call)
        if number % 2:
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
        else:
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call.read()

    await visit(0)
    await eventually(lambda: control.ads.streams == 0, 2.0, "the first stream is gone")
    tasks = len(asyncio.all_tasks())
    for number in range(200):
        await visit(number)
    await eventually(lambda: control.ads.streams == 0, 2.0, "every stream is gone")
    assert control.clients.clients == ()
    gc.collect()
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, 2.0, "no task is left over")


async def test_streams_return_when_the_service_closes(control: ControlPlane, channel: grpc.aio.Channel) -> None:
    calls = [opened(channel, method) for method in (DELTA, SOTW)]
    for call in calls:
        await call.write(first("me") if call is calls[0] else bytes(DiscoveryRequest(node=Node(id="b"), type_url=CDS)))
        await answered(call)
    await control.ads.close()
    for call in calls:
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
    late = opened(channel)
    await late.write(first("late"))
    assert await late.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_that_reads_nothing_cannot_hold_up_closing(
    control: ControlPlane, channel: grpc.aio.Channel
) -> None:
    call = opened(channel)
    await call.write(first("deaf"))
    await answered(call)
    # Far more than a window and the sockets' buffers hold; nobody reads it.
    for serial in range(2, 6):
        big = Resource("big", bytes([serial]) * 8_000_000, str(serial))
        control.publish(snapshot(serial, (ResourceType.CLUSTER, big)))
        await call.write(bytes(DeltaDiscoveryRequest(type_url=CDS, response_nonce=str(serial - 1))))
    await eventually(lambda: control.clients.clients[0].applied >= 1, 2.0, "it has answered something")
    async with asyncio.timeout(60):
        await control.ads.close(within=0.2)
    assert control.ads.streams == 0
    call.cancel()


@pytest.mark.parametrize(
    ("method", "raw", "code"),
    [
        (DELTA, b"\x0a\xff", grpc.StatusCode.INVALID_ARGUMENT),
        (SOTW, bytes(DiscoveryRequest(type_url=CDS)), grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["no message", "no client"],
)
async def test_a_wrong_request_ends_its_own_stream_only(
    control: ControlPlane, channel: grpc.aio.Channel, method: str, raw: bytes, code: grpc.StatusCode
) -> None:
    good, wrong = opened(channel), opened(channel, method)
    await good.write(first("good"))
    await answered(good)
    await wrong.write(raw)
    assert await wrong.code() is code
    control.publish(snapshot(2, (ResourceType.CLUSTER, cluster("new"))))
    await good.write(bytes(DeltaDiscoveryRequest(type_url=CDS, response_nonce="1")))
    assert DeltaDiscoveryResponse.parse(await answered(good)).resources[0].name == "new"
    good.cancel()


async def test_one_endpoint_of_ten_thousand_costs_little_to_send(
    control: ControlPlane, channel: grpc.aio.Channel
) -> None:
    eds = ResourceType.ENDPOINT.value
    call = opened(channel)
    await call.write(first("me"))
    await call.write(bytes(DeltaDiscoveryRequest(type_url=eds, resource_names_subscribe=["c"])))
    await answered(call)
    # About as many bytes as 10,000 encoded endpoints; the stream never looks inside.
    bodies = [Resource.of("c", number.to_bytes(2, "big") * 150_000) for number in range(20)]
    spent = []
    nonce = DeltaDiscoveryResponse.parse(await answered(call)).nonce
    for serial, body in enumerate(bodies, start=2):
        made = snapshot(serial, (ResourceType.CLUSTER, cluster("c")), (ResourceType.ENDPOINT, body))
        await call.write(bytes(DeltaDiscoveryRequest(type_url=eds, response_nonce=nonce)))
        before = time.process_time()
        control.publish(made)
        raw = await answered(call)
        spent.append(time.process_time() - before)
        nonce = DeltaDiscoveryResponse.parse(raw).nonce
    print(f"one change of a 300 kB resource, sent and received: {statistics.median(spent) * 1000:.1f} ms of CPU")
    assert statistics.median(spent) < 0.020
    call.cancel()
