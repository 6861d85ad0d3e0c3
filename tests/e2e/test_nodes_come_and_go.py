"""Nodes and models join and leave a running mesh without a failed request."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.cloud import Cloud, cloud, load
from benchmarks.faults.view import Mesh, mesh_of
from tests.e2e.conftest import Repository
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


@asynccontextmanager
async def program(*argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name(argv[0])),
        *argv[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await process.communicate()


def _post(endpoint: str, path: str, body: object) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{endpoint}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


async def _ready(endpoint: str, model: str) -> None:
    """Wait until a request for the model succeeds."""
    request = service_pb2.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="hold_ms", datatype="FP32", shape=[1])
    tensor.contents.fp32_contents.append(0)
    async with grpc.aio.insecure_channel(endpoint, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        async def served() -> bool:
            try:
                await stub.ModelInfer(request, timeout=2)
            except grpc.aio.AioRpcError:
                return False
            return True

        await eventually(served, 60, f"{model} is served")


async def test_a_model_is_unloaded_and_loaded_on_every_node_without_a_failed_request(
    tmp_path: Path, repository: Repository
) -> None:
    models = repository("whoami", "identity")
    config = "proxy:\n  allow_model_control: true\n"
    async with cloud(tmp_path / "data", model_repository=models, config=config) as running:
        async with grpc.aio.insecure_channel(running.endpoint) as channel, load(running.endpoint) as traffic:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

            async def state() -> str:
                index = await stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=True))
                return "READY" if "identity" in {one.name for one in index.models} else "GONE"

            await stub.RepositoryModelUnload(
                service_pb2.RepositoryModelUnloadRequest(model_name="identity"), timeout=20
            )
            assert await state() == "GONE"
            await stub.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name="identity"), timeout=60)
            assert await state() == "READY"
            report = await traffic.finish()
        assert report.failed == 0, report.failures[:3]


async def test_a_node_that_joins_takes_traffic_and_one_that_leaves_loses_none(
    tmp_path: Path, repository: Repository
) -> None:
    models = repository("whoami")
    async with cloud(tmp_path / "data", nodes=1, model_repository=models) as running, mesh_of(running) as view:
        async with load(running.endpoint) as traffic:
            joining = ("inferno-backend", "--model-repository", str(models), "--discovery-lb", running.endpoint)
            async with program(*joining, "--node-id", "late", "--data-dir", str(tmp_path / "late")):
                await view.until(lambda nodes: _serves(nodes, "late"), 60, "the late node serves")
                await view.until(lambda nodes: _completed(nodes, "late") > 10, 20, "the late node takes traffic")
            await view.until(lambda nodes: "late" not in nodes, 15, "the late node has left")
            report = await traffic.finish()
        assert report.failed == 0, report.failures[:3]
        assert len(report.servers) == 2, "the late node took no traffic"


def _serves(nodes: dict[str, Any], node_id: str) -> bool:
    return node_id in nodes and Mesh.phase(nodes[node_id]) == "NODE_PHASE_SERVING"


def _completed(nodes: dict[str, Any], node_id: str) -> int:
    return sum(model.completed for model in nodes[node_id].load.models) if node_id in nodes else 0


async def test_a_triton_without_an_agent_joins_by_json_and_by_flag_and_by_attachment(
    tmp_path: Path, repository: Repository
) -> None:
    models = repository("whoami")
    async with cloud(tmp_path / "owner", nodes=1, model_repository=models) as owner:
        triton = str(owner.nodes[0]["address"])
        by_flag = ("inferno-proxy", "--port", "0", "--data-dir", str(tmp_path / "flag"), "--backends", triton)
        async with _proxy(*by_flag) as endpoint:
            await _ready(endpoint, "whoami")
        plain = ("inferno-proxy", "--port", "0", "--data-dir", str(tmp_path / "plain"))
        async with _proxy(*plain) as endpoint:
            status, answer = await asyncio.to_thread(
                _post, endpoint, "/register", {"node_id": "json", "grpc_address": triton}
            )
            assert status == 200, answer
            assert answer["node_id"] == "json"
            await _ready(endpoint, "whoami")
        attached = ("inferno-proxy", "--port", "0", "--data-dir", str(tmp_path / "attached"))
        async with _proxy(*attached) as endpoint:
            agent = ("inferno-backend", "--triton-url", triton, "--discovery-lb", endpoint)
            async with program(*agent, "--data-dir", str(tmp_path / "agent")):
                await _ready(endpoint, "whoami")
        await _ready(owner.endpoint, "whoami")


@asynccontextmanager
async def _proxy(*argv: str) -> AsyncIterator[str]:
    """Run a proxy of its own and give its public address, which it tells by sd_notify."""
    import os

    from inferno_runtime.notify import NotifySocket

    async with NotifySocket() as listening:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name(argv[0])),
            *argv[1:],
            stdin=asyncio.subprocess.DEVNULL,
            env={**os.environ, "NOTIFY_SOCKET": listening.path},
        )
        try:
            async with asyncio.timeout(60):
                while True:
                    _, fields = await listening.receive()
                    if fields.get("READY") == "1":
                        break
            yield str(json.loads(fields["X_INFERNO"])["endpoint"])
        finally:
            process.terminate()
            async with asyncio.timeout(60):
                await process.wait()


@pytest.mark.parametrize(
    ("body", "pattern"),
    [
        (b"{", "JSON"),
        ({"grpc_address": "127.0.0.1:8001"}, "node_id"),
        ({"node_id": "x", "grpc_address": "nowhere"}, "grpc_address"),
        ({"node_id": "x", "grpc_address": "169.254.169.254:80"}, "169.254.169.254"),
        ({"node_id": "x", "grpc_adress": "127.0.0.1:8001"}, "grpc_adress"),
    ],
)
def test_a_malformed_registration_is_refused_with_the_field(protocol_cloud: Cloud, body: object, pattern: str) -> None:
    status, answer = _post(protocol_cloud.endpoint, "/register", body)
    assert status == 400, answer
    assert pattern in answer["error"]


async def test_a_second_node_with_a_living_nodes_name_is_refused(tmp_path: Path, protocol_cloud: Cloud) -> None:
    triton = str(protocol_cloud.nodes[1]["address"])
    taken = str(protocol_cloud.nodes[0]["id"])
    status, answer = await asyncio.to_thread(
        _post, protocol_cloud.endpoint, "/register", {"node_id": taken, "grpc_address": triton}
    )
    assert status == 409, answer
    assert taken in answer["error"]
