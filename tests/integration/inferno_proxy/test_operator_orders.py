"""The operator's hand on a whole proxy: what is ordered, a real Envoy does, and it outlives the control plane."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_stubs
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.integration.inferno_proxy.test_proxy import infer, nodes, traffic
from tests.integration.inferno_proxy.tritons import Served, Triton, triton
from tests.waiting import eventually


class Two:
    """A proxy before two servers, the second of which has version 2 of the model."""

    def __init__(self, running: Proxy, first: Triton, second: Triton) -> None:
        self.running = running
        self.servers = first, second
        self.mesh: Any = mesh_stubs.MeshServiceStub(running.channel)
        self.names = [f"{server.address.host}_{server.address.port}" for server in self.servers]

    def calls(self) -> tuple[int, int]:
        """How many calls each server has had."""
        first, second = (server.calls.get("ModelInfer", 0) for server in self.servers)
        return first, second

    async def shares(self, count: int = 60) -> tuple[int, int]:
        """Who gets how many of so many calls, all of which succeed."""
        before = self.calls()
        assert all([await infer(self.running.channel) for _ in range(count)])
        after = self.calls()
        return after[0] - before[0], after[1] - before[1]


async def test_what_is_ordered_is_done(socket_dir: Path) -> None:
    async with triton() as first, triton() as second:
        second.models = {"m": Served(version="2")}
        backends = f"{first.address},{second.address}"
        async with proxy(socket_dir, "--backends", backends) as running:
            two = Two(running, first, second)
            await eventually(lambda: _both_serve(two), 5, "both serve")
            await _weight(two)
            await _quarantine(two)
            await _split(two)
            await _limit(two)
            await _explain(two)


async def _both_serve(two: Two) -> bool:
    return min(await two.shares(10)) > 0


async def _weight(two: Two) -> None:
    await two.mesh.SetNodeWeight(mesh.SetNodeWeightRequest(node_id=two.names[0], factor=0.05))

    async def shifted() -> bool:
        first, second = await two.shares()
        return first <= 12 and second >= 48

    await eventually(shifted, 5, "the first node gets one call of twenty")
    await two.mesh.ClearOrders(mesh.ClearOrdersRequest(subject=two.names[0]))


async def _quarantine(two: Two) -> None:
    async with traffic(two.running.channel) as outcomes:
        await two.mesh.QuarantineNode(mesh.QuarantineNodeRequest(node_id=two.names[1], reason="smoke"))

        async def stopped() -> bool:
            before = two.calls()
            await asyncio.gather(*(infer(two.running.channel) for _ in range(20)))
            return two.calls()[1] == before[1]

        await eventually(stopped, 5, "the second node gets nothing")
        # A control plane that restarts still holds it back.
        two.running.child("inferno_proxy.control_plane").kill()
        await eventually(lambda: nodes(two.running), 20, "it is back")
        assert (await two.mesh.ListOrders(mesh.ListOrdersRequest())).orders[0].reason == "smoke"
        assert (await two.shares(20))[1] == 0
    assert all(outcomes)
    await _quarantine_of_all(two)
    for name in two.names:
        await two.mesh.ReleaseNode(mesh.ReleaseNodeRequest(node_id=name))
    await eventually(lambda: infer(two.running.channel), 5, "calls are answered again")
    await two.mesh.QuarantineModel(mesh.QuarantineModelRequest(model="m"))
    await eventually(lambda: _refused(two), 5, "no node gets calls of the model")
    assert await _health(two) == (503, "NOT_SERVING")
    await two.mesh.ReleaseModel(mesh.ReleaseModelRequest(model="m"))
    await eventually(lambda: _both_serve(two), 5, "both serve again")
    assert await _health(two) == (200, "SERVING")


async def _quarantine_of_all(two: Two) -> None:
    """The last node as well: what runs there ends, and nothing else begins."""
    stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(two.running.channel)
    before = two.calls()[0]
    held = stub.ModelInfer(pb.ModelInferRequest(model_name="m", id="held"), timeout=60)
    await eventually(lambda: two.calls()[0] > before, 5, "a call runs")
    await two.mesh.QuarantineNode(mesh.QuarantineNodeRequest(node_id=two.names[0]))
    await eventually(lambda: _refused(two), 5, "no node gets calls")
    assert await _health(two) == (503, "NOT_SERVING")
    two.servers[0].release.set()
    assert (await held).id == "held"


async def _health(two: Two) -> tuple[int, str]:
    """What the mesh says of itself over HTTP, and of the model by the standard protocol."""
    stub: Any = health_pb2_grpc.HealthStub(two.running.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service="m"), timeout=60)
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    async with aiohttp.ClientSession() as http, http.get(f"http://{two.running.endpoint}/readyz") as ready:
        return ready.status, status


async def _refused(two: Two) -> bool:
    """Whether calls are answered UNAVAILABLE, and by no node."""
    before = two.calls()
    make: Any = two.running.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    code = await make(pb.ModelInferRequest(model_name="m").SerializeToString(), timeout=60).code()
    return code is grpc.StatusCode.UNAVAILABLE and two.calls() == before


async def _split(two: Two) -> None:
    await two.mesh.SetSplit(mesh.SetSplitRequest(model="m", by="version", shares={"1": 0, "2": 100}))

    async def all_to_second() -> bool:
        return (await two.shares(20))[0] == 0

    await eventually(all_to_second, 5, "every call goes to version 2")
    await two.mesh.ClearOrders(mesh.ClearOrdersRequest(subject="m"))


async def _limit(two: Two) -> None:
    await two.mesh.SetLimit(mesh.SetLimitRequest(model="m", rate=mesh.Rate(calls=1, seconds=3600)))

    async def limited() -> bool:
        return not await infer(two.running.channel)

    await eventually(limited, 5, "calls beyond the rate are refused")
    base = f"http://{two.running.endpoint}/mesh/v1"
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{base}/orders/clear", json={"subject": "m"}) as cleared:
            assert (cleared.status, len((await cleared.json())["orders"])) == (200, 1)
        async with http.get(f"{base}/orders") as left:
            assert (await left.json()) == {"orders": []}

    async def unlimited() -> bool:
        # More calls than the limit has: a route that is sent anew for another reason begins with the whole of it.
        return all([await infer(two.running.channel) for _ in range(5)])

    await eventually(unlimited, 5, "calls are answered again")


async def _explain(two: Two) -> None:
    stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(two.running.channel)
    headers = (("x-request-id", "call-7"), ("x-inferno-explain", "1"))
    await stub.ModelInfer(pb.ModelInferRequest(model_name="m"), metadata=headers, timeout=60)

    async def explained() -> Any:
        try:
            return await two.mesh.Explain(mesh.ExplainRequest(request_id="call-7"))
        except grpc.aio.AioRpcError:
            return None

    made = await eventually(explained, 5, "its try is kept")
    (seen,) = made.tries
    assert (seen.node_id in two.names, seen.outcome, seen.status) == (True, "answered", "gRPC 0")
    model = await two.mesh.Explain(mesh.ExplainRequest(model="m"))
    assert {each.node_id for each in model.candidates} == set(two.names)
    assert any(each.observed.samples > 0 for each in model.candidates)
    audit = (await two.mesh.ListAudit(mesh.ListAuditRequest())).entries
    assert [each.action for each in audit][:2] == ["CLEAR_ORDERS", "SET_LIMIT"]
    assert json.dumps([each.caller for each in audit]).count("open") == len(audit)
