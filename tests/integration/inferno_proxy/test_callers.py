"""What each kind of caller may do over a real connection; the headers are those that Envoy sets."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from envoy_data_plane.envoy.config.core.v3 import Node
from envoy_data_plane.envoy.service.accesslog.v3 import StreamAccessLogsMessage, StreamAccessLogsMessageIdentifier
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest, DiscoveryRequest
from envoy_data_plane.envoy.service.load_stats.v3 import LoadStatsRequest

from inferno.registration.v1 import registration_service_pb2 as wire
from inferno.registration.v1 import registration_service_pb2_grpc as stubs
from inferno_proxy.publishing.snapshot import ResourceType
from inferno_proxy.services.node_wire import node_to_wire
from inferno_proxy.xds.ads_service import SERVICE as ADS
from inferno_runtime.identity.caller import CERTIFICATE, DOOR
from tests.integration.inferno_proxy.control import Control
from tests.unit.inferno_proxy.nodes import node
from tests.waiting import eventually

Headers = tuple[tuple[str, str], ...]
ANONYMOUS: Headers = ((DOOR, "mesh"),)


def member(role: str, name: str) -> Headers:
    """A member of the mesh, by its certificate."""
    return (*ANONYMOUS, (CERTIFICATE, f"Hash=00;URI=spiffe://inferno/{role}/{name}"))


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    """The status a call ends with, and the sentence."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read() if hasattr(call, "read") else await call
    return raised.value.code(), raised.value.details() or ""


def noted(plane: Control) -> list[str]:
    return [
        f"{each['caller']} {each['action']} {each['subject']}"
        for each in map(json.loads, plane.audit.read_text().splitlines())
    ]


@pytest.mark.parametrize(
    ("method", "first"),
    [
        (
            f"/{ADS}/StreamAggregatedResources",
            DiscoveryRequest(node=Node(id="other"), type_url=str(ResourceType.CLUSTER)),
        ),
        (
            f"/{ADS}/DeltaAggregatedResources",
            DeltaDiscoveryRequest(node=Node(id="other"), type_url=str(ResourceType.CLUSTER)),
        ),
        (
            "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats",
            LoadStatsRequest(node=Node(id="other")),
        ),
    ],
)
async def test_a_data_plane_takes_and_reports_for_its_own_name_only(plane: Control, method: str, first: Any) -> None:
    make: Any = plane.channel.stream_stream(method)
    for headers, code in (
        (member("proxy", "edge"), grpc.StatusCode.PERMISSION_DENIED),
        (member("node", "other"), grpc.StatusCode.PERMISSION_DENIED),
        (ANONYMOUS, grpc.StatusCode.UNAUTHENTICATED),
    ):
        call = make(metadata=headers)
        await call.write(bytes(first))
        assert (await refused(call))[0] is code
    assert noted(plane) == ["proxy edge CONFIGURE other", "node other CONFIGURE other", "anonymous CONFIGURE other"]
    assert plane.clients.clients == ()


async def test_a_log_of_tries_is_taken_from_the_data_plane_it_names(plane: Control) -> None:
    make: Any = plane.channel.stream_unary("/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs")
    first = bytes(StreamAccessLogsMessage(identifier=StreamAccessLogsMessageIdentifier(node=Node(id="other"))))
    call = make(metadata=member("proxy", "edge"))
    await call.write(first)
    await call.done_writing()
    assert (await refused(call))[0] is grpc.StatusCode.PERMISSION_DENIED
    call = make(metadata=member("proxy", "other"))
    await call.write(first)
    await call.done_writing()
    assert await call == b""


async def test_a_node_registers_and_leaves_under_its_own_name_only(plane: Control) -> None:
    stub: Any = stubs.RegistrationServiceStub(plane.channel)
    request = wire.RegisterRequest(node=node_to_wire(node("b")), revision=1)
    call = stub.Register(metadata=member("node", "a"))
    await call.write(request)
    code, sentence = await refused(call)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert sentence.startswith("Node 'a' may not register a node as 'b'.")
    announced = wire.AnnounceRequest(node=node_to_wire(node("b")))
    assert (await refused(stub.Announce(announced, metadata=member("node", "a"))))[0] is code
    await stub.Announce(announced, metadata=member("node", "b"))
    goodbye = wire.DeregisterRequest(node_id="b", incarnation=1)
    assert (await refused(stub.Deregister(goodbye, metadata=member("node", "a"))))[0] is code
    assert set(plane.registry.view.value.members) == {"b"}
    await stub.Deregister(goodbye, metadata=member("node", "b"))
    assert set(plane.registry.view.value.members) == set()


async def test_registering_over_http_asks_the_same(plane: Control) -> None:
    body = {"node_id": "b", "grpc_address": "10.0.0.2:8001"}
    stranger, own = dict(member("node", "a")), dict(member("node", "b"))
    async with plane.http.post("/register", json=body, headers=stranger) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (403, "NOT_YOURS")
    async with plane.http.post("/register", json=body, headers=dict(ANONYMOUS)) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (401, "NO_CREDENTIAL")
    async with plane.http.post("/register", json=body, headers=own) as answer:
        assert answer.status == 200
    async with plane.http.delete("/register/b", headers=stranger) as answer:
        assert answer.status == 403
    async with plane.http.delete("/register/b", headers=own) as answer:
        assert answer.status == 200


async def test_who_does_not_say_who_he_is_learns_that_the_mesh_lives_and_no_more(plane: Control) -> None:
    live: Any = plane.channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
    assert await live(b"", metadata=ANONYMOUS) == b"\x08\x01"
    ask: Any = plane.channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")
    code, sentence = await refused(ask(b"", metadata=ANONYMOUS))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert sentence.startswith("To ask about models, say who you are.")
    assert await ask(b"", metadata=member("node", "a"))
    load: Any = plane.channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")
    assert (await refused(load(b"", metadata=member("node", "a"))))[0] is grpc.StatusCode.PERMISSION_DENIED
    watch: Any = plane.channel.unary_stream("/inferno.health.v1.HealthService/Watch")
    assert (await refused(watch(b"", metadata=ANONYMOUS)))[0] is grpc.StatusCode.UNAUTHENTICATED
    unknown: Any = plane.channel.unary_unary("/new.Service/Method")
    assert (await refused(unknown(b"", metadata=ANONYMOUS)))[0] is grpc.StatusCode.UNAUTHENTICATED
    for path, status in (
        ("/healthz", 200),
        ("/v2/health/live", 200),
        ("/v2", 401),
        ("/metrics", 401),
        ("/anything", 401),
    ):
        async with plane.http.get(path, headers=dict(ANONYMOUS)) as answer:
            assert answer.status == status, path
    async with plane.http.get("/metrics", headers=dict(member("client", "c"))) as answer:
        assert answer.status == 403


async def test_a_client_takes_no_envoys_configuration_which_tells_of_all_clients(plane: Control) -> None:
    make: Any = plane.channel.stream_stream(f"/{ADS}/DeltaAggregatedResources")
    for agent, code in (("gRPC C-core", None), ("envoy", grpc.StatusCode.PERMISSION_DENIED)):
        call = make(metadata=member("client", "shop"))
        who = Node(id="shop", user_agent_name=agent)
        await call.write(bytes(DeltaDiscoveryRequest(node=who, type_url=str(ResourceType.CLUSTER))))
        if code is not None:
            assert (await refused(call))[0] is code
        else:
            await eventually(lambda: plane.clients.clients, 5, "it is let in")
            call.cancel()
    assert noted(plane) == ["client shop PROXY shop"]
