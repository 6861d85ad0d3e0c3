"""Health and mesh services, reflection and metrics over real connections."""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from inferno.health.v1 import health_service_pb2 as health_wire
from inferno.health.v1 import health_service_pb2_grpc as health_stubs
from inferno.mesh.v1 import mesh_service_pb2 as wire
from inferno.mesh.v1 import mesh_service_pb2_grpc as stubs
from inferno_proxy.fleet import ModelLoad, ModelState, Source
from inferno_proxy.publishing.snapshot import Dialect, ResourceType
from inferno_proxy.xds.clients import SyncState, TypeStatus
from tests.integration.inferno_proxy.control import Control
from tests.unit.inferno_proxy.nodes import model, node

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


async def other_watcher(plane: Control) -> Any:
    """A call that ends after every watcher has seen the fleet as it is now."""
    stub: Any = health_pb2_grpc.HealthStub(plane.channel)
    return stub.Watch(health_pb2.HealthCheckRequest())


async def test_the_standard_health_protocol_answers_for_the_mesh_and_each_model(plane: Control) -> None:
    stub: Any = health_pb2_grpc.HealthStub(plane.channel)

    async def check(service: str) -> Any:
        return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status

    assert await check("") == NOT_SERVING
    plane.registry.join(node(models=(model("m"), model("n", ModelState.UNAVAILABLE))))
    assert [await check(name) for name in ("", "m", "n", "inference.GRPCInferenceService")] == [
        SERVING,
        SERVING,
        NOT_SERVING,
        SERVING,
    ]
    with pytest.raises(grpc.aio.AioRpcError, match="m, n"):
        await check("zzz")


async def test_a_watched_model_appears_serves_and_stops(plane: Control) -> None:
    stub: Any = health_pb2_grpc.HealthStub(plane.channel)
    call = stub.Watch(health_pb2.HealthCheckRequest(service="m"))
    seen = [(await call.read()).status]
    lease = plane.registry.join(node())
    seen.append((await call.read()).status)
    lease.update(node(revision=2, region="x"))
    await (await other_watcher(plane)).read()
    plane.registry.drain("a")
    seen.append((await call.read()).status)
    assert seen == [UNKNOWN, SERVING, NOT_SERVING]
    plane.closing.begin()
    assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_health_report_says_why(plane: Control) -> None:
    stub = health_stubs.HealthServiceStub(plane.channel)
    plane.registry.join(node("a", port=1))
    plane.registry.join(node("b", port=2, models=(model("m"), model("n", ModelState.UNAVAILABLE))))
    plane.registry.drain("b")
    report = (await stub.GetHealth(health_wire.GetHealthRequest())).report
    assert report.status == health_wire.SERVING_STATUS_DEGRADED
    assert [(m.model, m.serving_nodes, m.total_nodes) for m in report.models] == [("m", 1, 2), ("n", 0, 1)]
    assert [n.node_id for n in report.nodes] == ["a", "b"]
    assert report.nodes[1].reason == "An operator drained it."
    one = (await stub.GetHealth(health_wire.GetHealthRequest(model="n"))).report
    assert (one.status, [n.node_id for n in one.nodes]) == (health_wire.SERVING_STATUS_NOT_SERVING, ["b"])
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await stub.GetHealth(health_wire.GetHealthRequest(model="zzz"))
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_health_report_is_sent_again_only_when_it_changed(plane: Control) -> None:
    call: Any = health_stubs.HealthServiceStub(plane.channel).WatchHealth(health_wire.WatchHealthRequest())
    assert not (await call.read()).report.nodes
    lease = plane.registry.join(node())
    assert (await call.read()).report.status == health_wire.SERVING_STATUS_SERVING
    lease.update(node(revision=2, region="x"))
    await (await other_watcher(plane)).read()
    plane.registry.drain("a")
    assert (await call.read()).report.nodes[0].reason
    call.cancel()


async def test_nodes_are_listed_with_load_and_source(plane: Control) -> None:
    lease = plane.registry.join(node("b", port=2))
    lease.renew((ModelLoad("m", 1, 2, 3, 4),))
    plane.registry.join(node("a", port=1), Source.STATIC)
    plane.registry.applied({"b": (1, 1)})
    first, second = (await stubs.MeshServiceStub(plane.channel).ListNodes(wire.ListNodesRequest())).nodes
    assert (first.node.node_id, first.source, first.HasField("load")) == ("a", wire.NODE_SOURCE_STATIC, False)
    assert (second.load.models[0].queued, second.applied_revision) == (1, 1)
    assert second.load_age.ToNanoseconds() > 0
    assert second.since.seconds > 1_500_000_000


async def test_models_are_listed_with_their_nodes(plane: Control) -> None:
    plane.registry.join(node("a", port=1, models=(model("m", version="3", stateful=True),)))
    plane.registry.join(node("b", port=2, models=(model("m", ModelState.LOADING, version="3"),)))
    [one] = (await stubs.MeshServiceStub(plane.channel).ListModels(wire.ListModelsRequest())).models
    assert (list(one.ready_versions), list(one.serving_nodes), list(one.other_nodes)) == (["3"], ["a"], ["b"])
    assert (one.stateful, one.decoupled) == (True, False)


async def test_data_planes_are_listed_with_what_they_run(plane: Control) -> None:
    stream = plane.clients.connected("envoy-1", Dialect.ENVOY, "envoy")
    plane.clients.update(stream, {ResourceType.CLUSTER.value: TypeStatus(SyncState.NACKED, "v1", "bad")}, 0)
    [one] = (await stubs.MeshServiceStub(plane.channel).ListClients(wire.ListClientsRequest())).clients
    [kind] = one.types
    assert (one.client_id, one.dialect, kind.type, kind.state) == ("envoy-1", "envoy", "cds", wire.SYNC_STATE_NACKED)
    assert (kind.version, kind.reason) == ("v1", "bad")


async def test_an_operator_drains_and_undrains(plane: Control) -> None:
    stub = stubs.MeshServiceStub(plane.channel)
    plane.registry.join(node())
    assert (await stub.DrainNode(wire.DrainNodeRequest(node_id="a"))).node.phase == wire.NODE_PHASE_DRAINING
    assert (await stub.UndrainNode(wire.UndrainNodeRequest(node_id="a"))).node.phase == wire.NODE_PHASE_SERVING
    for_a_while = wire.DrainNodeRequest(node_id="a", lifetime=duration_pb2.Duration(seconds=60))
    assert " until 20" in (await stub.DrainNode(for_a_while)).node.reason
    with pytest.raises(grpc.aio.AioRpcError, match="is not from 1 s to a year"):
        await stub.DrainNode(wire.DrainNodeRequest(node_id="a", lifetime=duration_pb2.Duration()))
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await stub.DrainNode(wire.DrainNodeRequest(node_id="b"))
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_events_are_watched_from_the_past_on_or_from_now_on(plane: Control) -> None:
    stub = stubs.MeshServiceStub(plane.channel)
    plane.registry.join(node())
    past: Any = stub.WatchEvents(wire.WatchEventsRequest())
    event = (await past.read()).event
    assert (event.kind, event.subject) == ("NODE_JOINED", "a")
    assert event.time.seconds > 1_500_000_000
    plane.registry.drain("a")
    kinds = [(await past.read()).event.kind for _ in range(2)]
    assert sorted(kinds) == ["NODE_DRAINED", "NODE_DRAINING"]
    past.cancel()


@pytest.mark.parametrize("name", ["grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"])
async def test_reflection_lists_every_service_under_its_old_and_new_name(plane: Control, name: str) -> None:
    call: Any = plane.channel.stream_stream(
        f"/{name}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await call.read()
    assert {service.name for service in answer.list_services_response.service} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
        "inferno.governance.v1.GovernanceService",
        "inferno.health.v1.HealthService",
        "inferno.identity.v1.IdentityService",
        "inferno.mesh.v1.MeshService",
        "inferno.profile.v1.ProfileService",
        "inferno.registration.v1.RegistrationService",
    }
    call.cancel()


async def test_metrics_tell_nodes_models_data_planes_and_events(plane: Control) -> None:
    plane.registry.join(node())
    plane.registry.join(replace(node("b", port=2), models=()))
    plane.registry.drain("b")
    plane.clients.connected("envoy-1", Dialect.ENVOY, "envoy")
    async with plane.http.get("/metrics") as answer:
        text = await answer.text()
    for line in (
        'inferno_nodes{phase="serving"} 1.0',
        'inferno_nodes{phase="draining"} 1.0',
        'inferno_model_serving_nodes{model="m"} 1.0',
        'inferno_data_planes{dialect="envoy"} 1.0',
        "inferno_snapshot_serial 3.0",
        'inferno_events_total{kind="NODE_JOINED"} 2.0',
    ):
        assert line in text


async def test_grpcurl_calls_a_service_it_has_never_seen(plane: Control) -> None:
    plane.registry.join(node())
    command = ["grpcurl", "-plaintext", "-unix", str(plane.grpc_socket), "inferno.mesh.v1.MeshService/ListNodes"]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    shown = json.loads(done.stdout)["nodes"][0]["node"]
    assert "a" in (shown.get("nodeId"), shown.get("node_id"))


async def test_a_defect_is_answered_and_logged(plane: Control) -> None:
    plane.published = "no number"
    async with plane.http.get("/metrics") as answer:
        shown = await answer.json()
    assert (answer.status, shown["reason"]) == (500, "INTERNAL")
    assert "Assertion" not in shown["error"]
