"""Unmodified Triton clients against the public port: every call of the Open Inference Protocol."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio_client
import tritonclient.http as http_client
import tritonclient.http.aio as http_aio_client
from tritonclient.utils import InferenceServerException

from benchmarks.cloud import Cloud

pytestmark = pytest.mark.e2e


@pytest.fixture
def client(protocol_cloud: Cloud) -> Iterator[Any]:
    """The synchronous gRPC client."""
    with grpc_client.InferenceServerClient(protocol_cloud.endpoint) as connected:
        yield connected


@pytest.fixture
def rest(protocol_cloud: Cloud) -> Iterator[Any]:
    """The synchronous REST client."""
    with http_client.InferenceServerClient(protocol_cloud.endpoint) as connected:
        yield connected


def _numbers(module: Any, values: np.ndarray[Any, Any], **keywords: bool) -> list[Any]:
    tensor = module.InferInput("numbers", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, **keywords)
    return [tensor]


def _value(module: Any, value: int) -> list[Any]:
    tensor = module.InferInput("value", [1, 1], "INT32")
    tensor.set_data_from_numpy(np.array([[value]], dtype=np.int32))
    return [tensor]


def _count(count: int) -> list[Any]:
    tensor = grpc_client.InferInput("count", [1], "INT32")
    tensor.set_data_from_numpy(np.array([count], dtype=np.int32))
    return [tensor]


VALUES = np.arange(7, dtype=np.float32)


def test_a_unary_grpc_call_is_routed_by_the_model_in_the_message(client: Any) -> None:
    answer = client.infer("identity", _numbers(grpc_client, VALUES))
    assert answer.as_numpy("numbers").tolist() == VALUES.tolist()


def test_a_call_that_names_its_model_in_the_header_is_answered_too(client: Any) -> None:
    answer = client.infer("identity", _numbers(grpc_client, VALUES), headers={"x-inferno-model": "identity"})
    assert answer.as_numpy("numbers").tolist() == VALUES.tolist()


async def test_the_asynchronous_grpc_client_works_unchanged(protocol_cloud: Cloud) -> None:
    async with grpc_aio_client.InferenceServerClient(protocol_cloud.endpoint) as connected:
        answer = await connected.infer("identity", _numbers(grpc_client, VALUES))
        assert answer.as_numpy("numbers").tolist() == VALUES.tolist()
        assert await connected.is_server_live()
        assert await connected.is_model_ready("identity")


@pytest.mark.parametrize("binary", [True, False], ids=["binary tensors", "json tensors"])
def test_a_rest_call_is_answered(rest: Any, binary: bool) -> None:
    outputs = [http_client.InferRequestedOutput("numbers", binary_data=binary)]
    answer = rest.infer("identity", _numbers(http_client, VALUES, binary_data=binary), outputs=outputs)
    assert answer.as_numpy("numbers").tolist() == VALUES.tolist()


async def test_the_asynchronous_rest_client_works_unchanged(protocol_cloud: Cloud) -> None:
    async with http_aio_client.InferenceServerClient(protocol_cloud.endpoint) as connected:
        answer = await connected.infer("identity", _numbers(http_client, VALUES))
        assert answer.as_numpy("numbers").tolist() == VALUES.tolist()
        assert await connected.is_server_ready()
        assert await connected.is_model_ready("identity")


def test_a_decoupled_model_answers_many_times_over_the_stream(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put(error or result))
    client.async_stream_infer("repeat", _count(5), request_id="r", enable_empty_final_response=True)
    indices = []
    while True:
        answer = answers.get(timeout=60)
        assert not isinstance(answer, InferenceServerException), answer
        if answer.get_response().parameters["triton_final_response"].bool_param:
            break
        indices.append(int(answer.as_numpy("index")[0]))
    client.stop_stream()
    assert indices == [0, 1, 2, 3, 4]


def test_generate_and_generate_stream_answer_over_rest(protocol_cloud: Cloud) -> None:
    def post(path: str, body: dict[str, object]) -> str:
        request = urllib.request.Request(
            f"http://{protocol_cloud.endpoint}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(answer.read().decode())

    streamed = post("/v2/models/repeat/generate_stream", {"count": 3})
    events = [json.loads(line.removeprefix("data:")) for line in streamed.splitlines() if line.startswith("data:")]
    assert [event["index"] for event in events if "index" in event] == [0, 1, 2]
    answered = json.loads(post("/v2/models/identity/generate", {"numbers": [1.5]}))
    assert answered["numbers"] == 1.5


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_a_sequence_stays_on_one_node(protocol_cloud: Cloud, kind: str) -> None:
    module = grpc_client if kind == "grpc" else http_client
    servers = set()
    with module.InferenceServerClient(protocol_cloud.endpoint) as connected:
        for sequence in range(1, 9):
            owners = set()
            for step in range(1, 6):
                answer = connected.infer(
                    "accumulate",
                    _value(module, step),
                    sequence_id=sequence if kind == "grpc" else 100 + sequence,
                    sequence_start=step == 1,
                    sequence_end=step == 5,
                )
                assert int(answer.as_numpy("sum").ravel()[0]) == step * (step + 1) // 2
                owners.add(answer.as_numpy("server").ravel()[0])
            assert len(owners) == 1
            servers |= owners
    assert len(servers) == 2, "eight sequences fell on one node of two"


def test_a_streamed_sequence_stays_on_one_node(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put(error or result))
    for step in range(1, 6):
        client.async_stream_infer(
            "accumulate", _value(grpc_client, step), sequence_id=77, sequence_start=step == 1, sequence_end=step == 5
        )
    sums = []
    for _ in range(5):
        answer = answers.get(timeout=60)
        assert not isinstance(answer, InferenceServerException), answer
        sums.append(int(answer.as_numpy("sum").ravel()[0]))
    client.stop_stream()
    assert sums == [1, 3, 6, 10, 15]


def test_requests_without_a_sequence_are_spread_over_the_nodes(client: Any) -> None:
    hold = grpc_client.InferInput("hold_ms", [1], "FP32")
    hold.set_data_from_numpy(np.zeros(1, dtype=np.float32))
    servers = {client.infer("whoami", [hold]).as_numpy("server")[0] for _ in range(40)}
    assert len(servers) == 2


@pytest.mark.parametrize("header", [{}, {"x-inferno-model": "identity"}], ids=["by message", "by header"])
def test_a_64_megabyte_tensor_passes(client: Any, header: dict[str, str]) -> None:
    values = np.ones(16 * 1024 * 1024, dtype=np.float32)
    answer = client.infer("identity", _numbers(grpc_client, values), headers=header)
    assert answer.as_numpy("numbers").nbytes == values.nbytes


def test_a_64_megabyte_tensor_passes_over_rest(rest: Any) -> None:
    values = np.ones(16 * 1024 * 1024, dtype=np.float32)
    answer = rest.infer("identity", _numbers(http_client, values))
    assert answer.as_numpy("numbers").nbytes == values.nbytes


def test_server_calls_answer_for_the_fleet(client: Any, rest: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert rest.is_server_live()
    assert rest.is_server_ready()
    assert client.get_server_metadata().name == rest.get_server_metadata()["name"] == "inferno"
    index = {model.name: model.state for model in client.get_model_repository_index().models}
    assert index == dict.fromkeys(["accumulate", "identity", "repeat", "whoami"], "READY")
    assert {model["name"] for model in rest.get_model_repository_index()} == set(index)


def test_model_calls_answer_by_name(client: Any, rest: Any) -> None:
    assert client.is_model_ready("identity")
    with pytest.raises(InferenceServerException, match="NOT_FOUND"):
        client.is_model_ready("nothing")
    assert client.get_model_metadata("identity").name == "identity"
    assert client.get_model_config("repeat").config.model_transaction_policy.decoupled
    assert rest.is_model_ready("identity")
    assert rest.get_model_metadata("identity")["name"] == "identity"
    assert rest.get_model_config("identity")["name"] == "identity"


def test_statistics_add_up_over_the_nodes(client: Any, rest: Any) -> None:
    def succeeded() -> int:
        return int(client.get_inference_statistics("whoami").model_stats[0].inference_stats.success.count)

    hold = grpc_client.InferInput("hold_ms", [1], "FP32")
    hold.set_data_from_numpy(np.zeros(1, dtype=np.float32))
    before = succeeded()
    servers = {client.infer("whoami", [hold]).as_numpy("server")[0] for _ in range(30)}
    assert len(servers) == 2
    assert succeeded() == before + 30
    over_rest = rest.get_inference_statistics("whoami")["model_stats"][0]
    assert over_rest["inference_stats"]["success"]["count"] == before + 30


NODE_CALLS = {
    "shared memory": lambda client: client.get_system_shared_memory_status(),
    "registering shared memory": lambda client: client.register_system_shared_memory("r", "/r", 8),
    "cuda shared memory": lambda client: client.get_cuda_shared_memory_status(),
    "trace settings": lambda client: client.get_trace_settings(),
    "log settings": lambda client: client.get_log_settings(),
}


@pytest.mark.parametrize("call", NODE_CALLS)
def test_calls_for_one_node_are_refused_with_a_reason(client: Any, rest: Any, call: str) -> None:
    with pytest.raises(InferenceServerException, match=r"one (machine|model server)") as refused:
        NODE_CALLS[call](client)
    assert "UNIMPLEMENTED" in str(refused.value.status())
    with pytest.raises(InferenceServerException, match=r"one (machine|model server)"):
        NODE_CALLS[call](rest)


@pytest.mark.parametrize("verb", ["load_model", "unload_model"])
def test_models_are_not_loaded_or_unloaded_through_the_public_port(client: Any, rest: Any, verb: str) -> None:
    with pytest.raises(InferenceServerException, match="allow_model_control") as refused:
        getattr(client, verb)("identity")
    assert "PERMISSION_DENIED" in str(refused.value.status())
    with pytest.raises(InferenceServerException, match="allow_model_control"):
        getattr(rest, verb)("identity")


@pytest.mark.parametrize("header", [{}, {"x-inferno-model": "nothing"}], ids=["by message", "by header"])
def test_an_unknown_model_is_not_found_and_the_others_are_named(client: Any, header: dict[str, str]) -> None:
    with pytest.raises(InferenceServerException, match=r"accumulate.*identity.*repeat.*whoami") as refused:
        client.infer("nothing", _numbers(grpc_client, VALUES), headers=header)
    assert "NOT_FOUND" in str(refused.value.status())


def test_an_unknown_model_is_not_found_over_rest(rest: Any) -> None:
    with pytest.raises(InferenceServerException, match=r"accumulate.*identity.*repeat.*whoami"):
        rest.infer("nothing", _numbers(http_client, VALUES))


def test_tritons_own_complaint_about_a_tensor_reaches_the_client(client: Any) -> None:
    tensor = grpc_client.InferInput("numbrs", [1], "FP32")
    tensor.set_data_from_numpy(np.ones(1, dtype=np.float32))
    with pytest.raises(InferenceServerException, match="numbrs") as refused:
        client.infer("identity", [tensor])
    assert "INVALID_ARGUMENT" in str(refused.value.status())


SERVICES = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
    "inferno.governance.v1.GovernanceService",
    "inferno.health.v1.HealthService",
    "inferno.mesh.v1.MeshService",
    "inferno.registration.v1.RegistrationService",
}


def _grpcurl(endpoint: str, *arguments: str, data: str = "") -> str:
    binary = Path(sys.executable).with_name("grpcurl")
    argv = [str(binary), "-plaintext", "-max-time", "10"]
    argv += ["-d", data] if data else []
    done = subprocess.run([*argv, endpoint, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_grpcurl_lists_describes_and_calls_every_service(protocol_cloud: Cloud) -> None:
    curl = partial(_grpcurl, protocol_cloud.endpoint)
    assert set(curl("list").split()) >= SERVICES
    for service in sorted(SERVICES):
        assert "service" in curl("describe", service)
    assert json.loads(curl("grpc.health.v1.Health/Check")) == {"status": "SERVING"}
    checked = curl("grpc.health.v1.Health/Check", data='{"service": "identity"}')
    assert json.loads(checked) == {"status": "SERVING"}
    assert len(json.loads(curl("inferno.mesh.v1.MeshService/ListNodes"))["nodes"]) == 2
    report = json.loads(curl("inferno.health.v1.HealthService/GetHealth"))["report"]
    assert report["status"] == "SERVING_STATUS_SERVING"
    tensor = {"name": "numbers", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [2.5]}}
    infer = json.dumps({"model_name": "identity", "inputs": [tensor]})
    answer = json.loads(_grpcurl(protocol_cloud.endpoint, "inference.GRPCInferenceService/ModelInfer", data=infer))
    assert answer["outputs"][0]["name"] == "numbers", answer


async def test_the_standard_health_service_can_be_watched(protocol_cloud: Cloud) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with grpc.aio.insecure_channel(protocol_cloud.endpoint) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="whoami"))
        async with asyncio.timeout(60):
            first = await watch.read()
        assert first.status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
