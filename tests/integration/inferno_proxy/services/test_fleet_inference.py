"""The Open Inference Protocol's fleet-wide calls over gRPC and over REST."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as wire
from tritonclient.grpc import service_pb2_grpc as stubs

from inferno.health.v1 import health_service_pb2 as health_wire
from inferno.health.v1 import health_service_pb2_grpc as health_stubs
from inferno_proxy.fleet import Model, ModelState, Source
from inferno_proxy.registry.lease import Lease
from inferno_proxy.routing.aliases import Alias
from tests.integration.inferno_proxy.control import Control, control
from tests.integration.inferno_proxy.tritons import Triton, triton
from tests.unit.inferno_proxy.nodes import model, node

ONE_NODE = [
    ("SystemSharedMemoryStatus", "shared memory"),
    ("SystemSharedMemoryRegister", "shared memory"),
    ("SystemSharedMemoryUnregister", "shared memory"),
    ("CudaSharedMemoryStatus", "shared memory"),
    ("CudaSharedMemoryRegister", "shared memory"),
    ("CudaSharedMemoryUnregister", "shared memory"),
    ("TraceSetting", "trace settings"),
    ("LogSettings", "log settings"),
]


def stub(plane: Control) -> Any:
    return stubs.GRPCInferenceServiceStub(plane.channel)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    """The status and sentence with which a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


async def get(plane: Control, path: str) -> tuple[int, Any]:
    async with plane.http.get(path) as answer:
        return answer.status, await answer.json() if answer.content_type == "application/json" else await answer.text()


async def post(plane: Control, path: str, body: Any = None) -> tuple[int, Any, Mapping[str, str]]:
    async with plane.http.post(path, **({"data": body} if isinstance(body, bytes) else {"json": body})) as answer:
        read = await answer.json() if answer.content_type == "application/json" else await answer.text()
        return answer.status, read, answer.headers


@contextlib.asynccontextmanager
async def two_tritons(plane: Control) -> AsyncIterator[tuple[Triton, Triton]]:
    """Two nodes, each with model m on a real socket."""
    async with triton() as one, triton() as two:
        plane.registry.join(node("a", port=one.address.port))
        plane.registry.join(node("b", port=two.address.port))
        yield one, two


async def test_the_mesh_lives_and_is_ready_when_some_node_can_serve(plane: Control) -> None:
    assert (await stub(plane).ServerLive(wire.ServerLiveRequest())).live
    assert not (await stub(plane).ServerReady(wire.ServerReadyRequest())).ready
    assert (await get(plane, "/v2/health/ready"))[0] == 400
    assert (await get(plane, "/readyz"))[0] == 503
    plane.registry.join(node())
    assert (await stub(plane).ServerReady(wire.ServerReadyRequest())).ready
    for path in ("/v2/health/live", "/v2/health/ready", "/healthz", "/readyz"):
        assert (await get(plane, path))[0] == 200


async def test_the_mesh_has_a_name_a_version_and_what_works_through_it(plane: Control) -> None:
    metadata = await stub(plane).ServerMetadata(wire.ServerMetadataRequest())
    assert (metadata.name, metadata.version) == ("inferno", "1.2.3")
    assert "statistics" in metadata.extensions
    assert not [one for one in metadata.extensions if "shared_memory" in one]
    status, shown = await get(plane, "/v2")
    assert (status, shown) == (200, {"name": "inferno", "version": "1.2.3", "extensions": list(metadata.extensions)})


async def test_the_index_is_the_union_and_ready_means_ready_somewhere(plane: Control) -> None:
    plane.registry.join(node("a", port=1, models=(model("m"), model("half", ModelState.UNAVAILABLE, reason="no file"))))
    plane.registry.join(node("b", port=2, models=(model("m", ModelState.LOADING), model("half", ModelState.LOADING))))
    plane.registry.join(node("c", port=3, models=(model("drained"),)))
    plane.registry.drain("c")
    index = await stub(plane).RepositoryIndex(wire.RepositoryIndexRequest())
    assert [(one.name, one.version, one.state) for one in index.models] == [
        ("drained", "1", "UNAVAILABLE"),
        ("half", "1", "LOADING"),
        ("m", "1", "READY"),
    ]
    assert index.models[0].reason == "An operator drained it."
    ready = await stub(plane).RepositoryIndex(wire.RepositoryIndexRequest(ready=True))
    assert [one.name for one in ready.models] == ["m"]
    status, shown, _ = await post(plane, "/v2/repository/index", {"ready": True})
    assert (status, shown) == (200, [{"name": "m", "version": "1", "state": "READY"}])
    status, shown, _ = await post(plane, "/v2/repository/index", b"")
    assert (status, len(shown)) == (200, 3)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready": 1}', b"[" * 50_000])
async def test_a_malformed_index_request_is_refused(plane: Control, body: bytes) -> None:
    status, shown, _ = await post(plane, "/v2/repository/index", body)
    assert (status, shown["reason"]) == (400, "MALFORMED_REQUEST")


async def test_statistics_add_up_over_the_nodes(plane: Control) -> None:
    async with two_tritons(plane) as (one, _):
        one.calls["ModelInfer"] = 4
        [total] = (await stub(plane).ModelStatistics(wire.ModelStatisticsRequest(name="m"))).model_stats
        assert (total.name, total.inference_count) == ("m", 6)
        for path in ("/v2/models/stats", "/v2/models/m/stats", "/v2/models/m/versions/1/stats"):
            status, shown = await get(plane, path)
            assert (status, shown["model_stats"][0]["inference_count"]) == (200, 6)


async def test_a_node_that_does_not_answer_is_named_and_the_others_count(plane: Control) -> None:
    async with two_tritons(plane) as (one, _):
        one.fails["ModelStatistics"] = grpc.StatusCode.UNAVAILABLE
        call = stub(plane).ModelStatistics(wire.ModelStatisticsRequest(name="m"), timeout=60)
        assert (await call).model_stats[0].inference_count == 1
        assert dict(await call.trailing_metadata())["inferno-missing-nodes"] == "a"
        async with plane.http.get("/v2/models/m/stats") as answer:
            assert answer.headers["inferno-missing-nodes"] == "a"


async def test_statistics_fail_when_no_node_answers_or_none_has_the_version(plane: Control) -> None:
    async with two_tritons(plane) as (one, two):
        code, sentence = await refusal(stub(plane).ModelStatistics(wire.ModelStatisticsRequest(name="m", version="9")))
        assert (code, "not at all here" in sentence) == (grpc.StatusCode.NOT_FOUND, True)
        one.fails["ModelStatistics"] = two.fails["ModelStatistics"] = grpc.StatusCode.UNAVAILABLE
        code, _ = await refusal(stub(plane).ModelStatistics(wire.ModelStatisticsRequest(name="m")))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert (await get(plane, "/v2/models/m/stats"))[0] == 503


async def test_calls_for_one_model_that_end_here_say_why(plane: Control) -> None:
    plane.registry.join(node(models=(model("m"), model("off", ModelState.UNAVAILABLE, reason="no file"))))
    for request in (
        stub(plane).ModelInfer(wire.ModelInferRequest(model_name="zzz")),
        stub(plane).ModelReady(wire.ModelReadyRequest(name="zzz")),
        stub(plane).ModelMetadata(wire.ModelMetadataRequest(name="zzz")),
        stub(plane).ModelConfig(wire.ModelConfigRequest(name="zzz")),
        stub(plane).ModelStatistics(wire.ModelStatisticsRequest(name="zzz")),
        stub(plane).ModelStreamInfer(iter([wire.ModelInferRequest(model_name="zzz")])).read(),
    ):
        code, sentence = await refusal(request)
        assert code is grpc.StatusCode.NOT_FOUND
        assert "m, off" in sentence
    code, sentence = await refusal(stub(plane).ModelInfer(wire.ModelInferRequest(model_name="off")))
    assert (code, "no file" in sentence) == (grpc.StatusCode.UNAVAILABLE, True)
    code, _ = await refusal(stub(plane).ModelInfer(wire.ModelInferRequest(model_name="m")))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert await stub(plane).ModelStreamInfer(iter(())).read() is grpc.aio.EOF
    status, shown, headers = await post(plane, "/v2/models/off/infer", {})
    assert (status, shown["reason"], headers["retry-after"]) == (503, "MODEL_NOT_SERVED", "1")
    status, shown = await get(plane, "/v2/models/zzz")
    assert (status, shown["details"]) == (404, {"model": "zzz"})


@pytest.mark.parametrize(("method", "what"), ONE_NODE)
async def test_calls_for_one_machine_are_unimplemented_with_a_sentence(plane: Control, method: str, what: str) -> None:
    request = getattr(wire, f"{method}Request")()
    code, sentence = await refusal(getattr(stub(plane), method)(request))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert what in sentence


@pytest.mark.parametrize(
    "path",
    [
        "/v2/systemsharedmemory/status",
        "/v2/systemsharedmemory/region/x/register",
        "/v2/cudasharedmemory/region/x/unregister",
        "/v2/trace/setting",
        "/v2/models/m/trace/setting",
        "/v2/logging",
    ],
)
async def test_rest_calls_for_one_machine_are_501_with_a_sentence(plane: Control, path: str) -> None:
    status, shown, _ = await post(plane, path, {})
    assert (status, shown["reason"]) == (501, "ONE_NODE_ONLY")


async def test_models_are_not_controlled_unless_the_operator_allows_it(plane: Control) -> None:
    plane.registry.join(node())
    for method, request in (
        ("RepositoryModelLoad", wire.RepositoryModelLoadRequest(model_name="m")),
        ("RepositoryModelUnload", wire.RepositoryModelUnloadRequest(model_name="m")),
    ):
        code, sentence = await refusal(getattr(stub(plane), method)(request))
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert "--allow-model-control" in sentence
    for action in ("load", "unload"):
        status, shown, _ = await post(plane, f"/v2/repository/models/m/{action}", {})
        assert (status, shown["reason"]) == (403, "MODEL_CONTROL_OFF")


class Agent:
    """Does what the mesh wants of it, as ``act`` says: the states a model passes through."""

    def __init__(self, plane: Control, node_id: str, port: int, models: tuple[Model, ...]) -> None:
        self.node = node(node_id, port=port, models=models)
        self.lease: Lease = plane.registry.join(self.node)
        self.revision = 1

    async def act(self, *states: Model, generation: int = 1) -> None:
        """Wait for a wish, then tell of each state in turn."""
        name = states[0].name
        await self.lease.outlook.wait_for(
            lambda outlook: name in outlook.wanted and outlook.wanted[name].generation >= generation
        )
        for state in states:
            self.revision += 1
            self.lease.update(
                node(
                    self.node.node_id,
                    port=self.node.grpc_address.port,
                    revision=self.revision,
                    models=(state,),
                )
            )
            await asyncio.sleep(0)


async def test_a_model_is_loaded_on_every_agent_and_the_call_returns_when_it_is_ready(socket_dir: Path) -> None:
    async with control(socket_dir, allow_model_control=True) as plane:
        one, two = Agent(plane, "a", 1, ()), Agent(plane, "b", 2, (model("m", ModelState.UNAVAILABLE, reason="old"),))
        async with asyncio.TaskGroup() as group:
            group.create_task(one.act(model("m", ModelState.LOADING), model("m")))
            group.create_task(two.act(model("m", ModelState.LOADING), model("m")))
            await stub(plane).RepositoryModelLoad(wire.RepositoryModelLoadRequest(model_name="m"), timeout=60)
        assert plane.fleet.ready


async def test_a_model_that_loads_somewhere_is_loaded_and_one_that_loads_nowhere_fails_with_the_reason(
    socket_dir: Path,
) -> None:
    async with control(socket_dir, allow_model_control=True) as plane:
        one, two = Agent(plane, "a", 1, ()), Agent(plane, "b", 2, ())
        failed = model("m", ModelState.UNAVAILABLE, reason="no config.pbtxt")
        async with asyncio.TaskGroup() as group:
            group.create_task(one.act(model("m")))
            group.create_task(two.act(failed))
            status, _, _ = await post(plane, "/v2/repository/models/m/load", {})
            assert status == 200
        other = model("n", ModelState.UNAVAILABLE, reason="no config.pbtxt")
        async with asyncio.TaskGroup() as group:
            group.create_task(one.act(other))
            group.create_task(two.act(other))
            code, sentence = await refusal(
                stub(plane).RepositoryModelLoad(wire.RepositoryModelLoadRequest(model_name="n"), timeout=60)
            )
        assert (code, "no config.pbtxt" in sentence) == (grpc.StatusCode.UNAVAILABLE, True)


async def test_a_loaded_model_is_loaded_anew_once_each_agent_has_counted_it_and_a_failure_is_told(
    socket_dir: Path,
) -> None:
    async with control(socket_dir, allow_model_control=True) as plane:
        one, two = Agent(plane, "a", 1, (model("m", loads=1),)), Agent(plane, "b", 2, (model("m", loads=4),))
        load, request = stub(plane).RepositoryModelLoad, wire.RepositoryModelLoadRequest(model_name="m")
        async with asyncio.TaskGroup() as group:
            group.create_task(one.act(model("m", loads=2)))
            group.create_task(two.act(model("m", ModelState.READY, reason="Busy.", loads=4)))
            code, _ = await refusal(load(request, timeout=0.5))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED, "the second one has said something, and not that it is done"
        async with asyncio.TaskGroup() as group:
            group.create_task(one.act(model("m", loads=3), generation=2))
            group.create_task(two.act(model("m", loads=5), generation=2))
            await load(request, timeout=60)
        async with asyncio.TaskGroup() as group:
            group.create_task(one.act(model("m", loads=4), generation=3))
            group.create_task(two.act(model("m", loads=6, load_failure="no weights"), generation=3))
            code, sentence = await refusal(load(request, timeout=60))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "'m' could not be loaded anew on 1 of 2 nodes; they serve it as it was (b: no weights)." in sentence


async def test_a_model_is_unloaded_once_no_node_has_it(socket_dir: Path) -> None:
    async with control(socket_dir, allow_model_control=True) as plane:
        agent = Agent(plane, "a", 1, (model("m"),))
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.act(model("m", ModelState.UNLOADING), model("m", ModelState.UNAVAILABLE)))
            status, _, _ = await post(plane, "/v2/repository/models/m/unload", {})
        assert status == 200
        assert not plane.fleet.ready
        await stub(plane).RepositoryModelUnload(wire.RepositoryModelUnloadRequest(model_name="m"), timeout=60)


async def test_model_control_that_cannot_be_done_says_why(socket_dir: Path) -> None:
    async with control(socket_dir, allow_model_control=True) as plane:
        load, unload = stub(plane).RepositoryModelLoad, stub(plane).RepositoryModelUnload
        code, sentence = await refusal(load(wire.RepositoryModelLoadRequest(model_name="m")))
        assert (code, "agent" in sentence) == (grpc.StatusCode.UNAVAILABLE, True)
        code, _ = await refusal(unload(wire.RepositoryModelUnloadRequest(model_name="m")))
        assert code is grpc.StatusCode.NOT_FOUND
        plane.registry.join(node("listed", port=9), Source.STATIC)
        code, sentence = await refusal(unload(wire.RepositoryModelUnloadRequest(model_name="m")))
        assert (code, "listed" in sentence) == (grpc.StatusCode.UNIMPLEMENTED, True)
        request = wire.RepositoryModelLoadRequest(model_name="m")
        request.parameters["config"].string_param = "{}"
        code, sentence = await refusal(load(request))
        assert (code, "config" in sentence) == (grpc.StatusCode.UNIMPLEMENTED, True)
        Agent(plane, "a", 1, (model("m"),))
        plane.registry.deregister("listed", 1)
        code, sentence = await refusal(unload(wire.RepositoryModelUnloadRequest(model_name="m"), timeout=0.5))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        status, shown, _ = await post(plane, "/v2/repository/models/m/load", {"parameters": []})
        assert (status, shown["details"]) == (400, {"field": "parameters"})


async def test_a_node_is_registered_and_taken_out_over_http(plane: Control) -> None:
    status, shown, _ = await post(plane, "/register", {"node_id": "a", "grpc_address": "127.0.0.1:1"})
    assert (status, shown["node_id"], shown["lease_duration"]) == (200, "a", "30s")
    async with plane.http.delete("/register/a?incarnation=5") as refused:
        assert refused.status == 409
    async with plane.http.delete("/register/a?incarnation=x") as refused:
        assert refused.status == 400
    async with plane.http.delete(f"/register/a?incarnation={shown['incarnation']}") as gone:
        assert (gone.status, (await gone.json())["node_id"]) == (200, "a")
    async with plane.http.delete("/register/a") as unknown:
        assert unknown.status == 404
    await post(plane, "/register", {"node_id": "b", "grpc_address": "127.0.0.1:1"})
    async with plane.http.delete("/register/b") as gone:
        assert gone.status == 200


@pytest.mark.parametrize(
    ("method", "path", "size", "status"),
    [("GET", "/nowhere", 0, 404), ("GET", "/register", 0, 405), ("POST", "/register", 5 * 1024 * 1024, 413)],
)
async def test_what_http_itself_refuses_is_json_too(
    plane: Control, method: str, path: str, size: int, status: int
) -> None:
    async with plane.http.request(method, path, data=io.BytesIO(b" " * size) if size else None) as answer:
        shown = await answer.json()
        assert answer.status == status
        assert shown["error"]
        assert shown["reason"]
        assert ("allow" in answer.headers) == (status == 405)


async def test_an_alias_answers_like_its_model_wherever_the_fleet_is_asked(plane: Control) -> None:
    plane.aliases = {"chat": Alias("m"), "second": Alias("m", "2"), "m": Alias("n"), "gone": Alias("nobody")}
    checks: Any = health_pb2_grpc.HealthStub(plane.channel)
    health: Any = health_stubs.HealthServiceStub(plane.channel)
    async with two_tritons(plane):
        index = await stub(plane).RepositoryIndex(wire.RepositoryIndexRequest())
        assert [(each.name, each.version, each.state) for each in index.models] == [
            ("chat", "1", "READY"),
            ("m", "1", "READY"),
        ]
        by_name = await stub(plane).ModelStatistics(wire.ModelStatisticsRequest(name="m"))
        assert await stub(plane).ModelStatistics(wire.ModelStatisticsRequest(name="chat")) == by_name
        assert await get(plane, "/v2/models/chat/stats") == await get(plane, "/v2/models/m/stats")
    assert (
        await checks.Check(health_pb2.HealthCheckRequest(service="chat"))
    ).status == health_pb2.HealthCheckResponse.SERVING
    report = (await health.GetHealth(health_wire.GetHealthRequest(model="chat"))).report
    assert [each.model for each in report.models] == ["m"]
    code, said = await refusal(stub(plane).ModelStatistics(wire.ModelStatisticsRequest(name="gone")))
    assert (code, "nobody" in said) == (grpc.StatusCode.NOT_FOUND, True)
