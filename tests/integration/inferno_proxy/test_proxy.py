"""The whole proxy in front of stand-in model servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import psutil
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_stubs
from inferno.registration.v1 import registration_service_pb2 as registration
from inferno.registration.v1 import registration_service_pb2_grpc as registration_stubs
from inferno_proxy.services.node_wire import node_to_wire
from inferno_runtime.process import free_port
from tests.integration.inferno_proxy.proxies import PROGRAM, Proxy, proxy
from tests.integration.inferno_proxy.tritons import Served, Triton, triton
from tests.unit.inferno_proxy.nodes import model, node
from tests.waiting import eventually


async def infer(channel: grpc.aio.Channel, model: str = "m") -> bool:
    """Whether a request for the model succeeds."""
    stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    try:
        await stub.ModelInfer(pb.ModelInferRequest(model_name=model), timeout=60)
    except grpc.aio.AioRpcError:
        return False
    return True


@asynccontextmanager
async def traffic(channel: grpc.aio.Channel) -> AsyncIterator[list[bool]]:
    """About a hundred requests a second until the body ends; each outcome is listed."""
    outcomes: list[bool] = []
    ended = asyncio.Event()

    async def send() -> None:
        while not ended.is_set():
            outcomes.append(await infer(channel))
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        yield outcomes
        ended.set()


async def nodes(running: Proxy) -> dict[str, Any]:
    """The mesh's nodes by id; empty while the control plane does not answer."""
    try:
        listed = await mesh_stubs.MeshServiceStub(running.channel).ListNodes(mesh.ListNodesRequest(), timeout=1)
    except grpc.aio.AioRpcError:
        return {}
    return {one.node.node_id: one for one in listed.nodes}


async def register(running: Proxy, server: Triton, node_id: str = "a", revision: int = 1, **fields: Any) -> Any:
    """Register a stand-in as an agent does; the stream."""
    call = registration_stubs.RegistrationServiceStub(running.channel).Register()
    wire = node_to_wire(node(node_id, port=server.address.port, **fields))
    await call.write(registration.RegisterRequest(node=wire, revision=revision))
    await call.read()
    return call


async def test_requests_reach_a_node_within_a_quarter_of_a_second_of_its_registration(socket_dir: Path) -> None:
    async with proxy(socket_dir) as running:
        took = [1.0]
        # Once must be enough: other work on the machine must not decide.
        while min(took) > 0.25 and len(took) < 20:
            name = f"m{len(took)}"
            async with triton() as server:
                server.models = {name: Served()}
                assert not await infer(running.channel, name)
                began = time.monotonic()
                call = await register(running, server, name, models=(model(name),))
                await eventually(partial(infer, running.channel, name), 2, "a request reaches the node")
                took.append(time.monotonic() - began)
                applied = await call.read()
                assert applied.applied_revision == 1
        assert min(took) < 0.25, took


async def test_a_goodbye_ends_the_stream_and_takes_the_node_out(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir) as running:
        call = await register(running, server)
        stub = registration_stubs.RegistrationServiceStub(running.channel)
        await stub.Deregister(registration.DeregisterRequest(node_id="a", incarnation=1))
        assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert not await nodes(running)


async def test_a_killed_control_plane_costs_no_request_and_remembers_every_node(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir) as running:
        await register(running, server)
        await eventually(lambda: infer(running.channel), 2, "a request reaches the node")
        await eventually((socket_dir / "fleet.json").exists, 3, "the fleet is on disk")
        await eventually(lambda: '"node_id"' in (socket_dir / "fleet.json").read_text(), 3, "the node is on disk")
        first = running.child("control_plane")
        async with traffic(running.channel) as outcomes:
            first.kill()
            await eventually(lambda: running.child("control_plane").pid != first.pid, 5, "a new control plane")
            back = await eventually(lambda: nodes(running), 10, "the control plane answers")
            assert back["a"].phase == mesh.NODE_PHASE_UNMANAGED
            await register(running, server)
            shown = await nodes(running)
            assert shown["a"].phase == mesh.NODE_PHASE_SERVING
        assert len(outcomes) > 50
        assert all(outcomes)


async def test_a_killed_envoy_serves_again_within_a_second(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir, "--backends", str(server.address)) as running:
        await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
        running.child("--concurrency").kill()
        await eventually(lambda: infer(running.channel), 3, "requests are served again")


def _on_standby(directory: Path, model: str) -> bool:
    return any(f"model/{model}/grpc".encode() in file.read_bytes() for file in directory.glob("standby-*.pb"))


async def test_envoy_serves_the_last_good_configuration_while_the_control_plane_hangs(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir, "--backends", str(server.address)) as running:
        await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
        # The file follows the snapshot by a moment, and a stopped control plane writes no more.
        await eventually(lambda: _on_standby(socket_dir, "m"), 5, "the standby file knows the model")
        control = running.child("control_plane")
        control.suspend()
        try:
            running.child("--concurrency").kill()
            await eventually(lambda: infer(running.channel), 5, "requests are served again")
        finally:
            # On a slow machine it may have been silent for so long that it was ended.
            with contextlib.suppress(psutil.NoSuchProcess):
                control.resume()
        await eventually(lambda: nodes(running), 10, "the control plane answers again")
        assert await infer(running.channel)


async def test_every_control_service_answers_through_the_public_port(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir, "--backends", str(server.address)) as running:
        await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
        for arguments, expected in (
            (["list"], "inferno.mesh.v1.MeshService"),
            (["describe", "inferno.registration.v1.RegistrationService"], "rpc Announce"),
            (["inferno.mesh.v1.MeshService/ListModels"], '"m"'),
            (["grpc.health.v1.Health/Check"], "SERVING"),
            (["inferno.health.v1.HealthService/GetHealth"], "SERVING_STATUS_SERVING"),
            (["inference.GRPCInferenceService/RepositoryIndex"], "READY"),
            (["-d", '{"model_name": "m"}', "inference.GRPCInferenceService/ModelInfer"], "m"),
        ):
            *data, last = arguments
            target = [running.endpoint, last] if last != arguments[0] or "/" in last or last == "list" else []
            command = ["grpcurl", "-plaintext", *(data if data and data[0] == "-d" else []), *target]
            if arguments[0] == "describe":
                command = ["grpcurl", "-plaintext", running.endpoint, *arguments]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert expected in done.stdout
        async with aiohttp.ClientSession(f"http://{running.endpoint}") as http:
            async with http.get("/v2") as answer:
                assert (await answer.json())["name"] == "inferno"
            async with http.post("/v2/repository/index") as answer:
                assert (await answer.json())[0]["state"] == "READY"
            async with http.get("/v2/models/m/stats") as answer:
                assert (await answer.json())["model_stats"]
            async with http.post("/v2/logging") as answer:
                assert answer.status == 501
            async with http.get("/metrics") as answer:
                assert 'inferno_nodes{phase="serving"} 1.0' in await answer.text()


async def test_a_node_is_registered_by_json_and_watched_from_then_on(socket_dir: Path) -> None:
    async with (
        triton() as server,
        proxy(socket_dir) as running,
        aiohttp.ClientSession(f"http://{running.endpoint}") as http,
    ):
        body = {"node_id": "json", "grpc_address": str(server.address), "lease_duration": 60}
        async with http.post("/register", json=body) as answer:
            assert answer.status == 200
        await eventually(lambda: infer(running.channel), 2, "a request reaches the node")
        body = {"node_id": "self", "grpc_address": running.endpoint}
        async with http.post("/register", json=body) as answer:
            assert "own public port" in (await answer.json())["error"]


async def test_the_end_is_in_order_and_leaves_nothing(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir, "--backends", str(server.address)) as running:
        call = await register(running, server, "b")
        family = [psutil.Process(running.process.pid), *psutil.Process(running.process.pid).children(recursive=True)]
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert await running.process.wait() == 0
        assert time.monotonic() - began < 30
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert not [each for each in family if each.is_running()]
        assert not list(socket_dir.glob("*.sock"))


async def test_a_killed_supervisor_leaves_no_process_and_its_successor_serves(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir, "--backends", str(server.address)) as running:
        family = psutil.Process(running.process.pid).children(recursive=True)
        running.process.kill()
        await eventually(lambda: not [p for p in family if p.is_running() and p.status() != "zombie"], 5, "all ended")
        async with proxy(socket_dir, "--backends", str(server.address)) as successor:
            await eventually(lambda: infer(successor.channel), 3, "the successor serves")


def refused(*arguments: str) -> tuple[int, str]:
    """Exit status and standard error of a proxy that does not start."""
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


async def test_a_second_proxy_in_one_folder_names_the_first(socket_dir: Path) -> None:
    async with proxy(socket_dir) as running:
        code, said = await asyncio.to_thread(refused, "--port", "0", "--data-dir", str(socket_dir))
        assert code == 4
        assert f"pid {running.process.pid}" in said


async def test_a_taken_port_names_its_holder(socket_dir: Path) -> None:
    async with triton() as server:
        port = str(server.address.port)
        code, said = await asyncio.to_thread(refused, "--port", port, "--data-dir", str(socket_dir))
    assert code == 4
    assert f"Port {port}" in said
    assert "pid " in said


def test_what_is_wrong_with_the_settings_ends_the_proxy_with_a_sentence(socket_dir: Path) -> None:
    code, said = refused("--host", "0.0.0.0", "--data-dir", str(socket_dir))
    assert (code, "--insecure" in said) == (2, True)
    file = socket_dir / "inferno.yaml"
    file.write_text("proxy:\n  prot: 1\n")
    code, said = refused("--config", str(file))
    assert (code, "did you mean" in said.lower(), f"{file}:2" in said) == (2, True, True)


async def test_a_control_plane_that_cannot_start_ends_the_proxy(socket_dir: Path) -> None:
    (socket_dir / "control.sock").mkdir()
    code, said = await asyncio.to_thread(refused, "--port", str(free_port()), "--data-dir", str(socket_dir))
    assert code == 4
    assert "control plane ended" in said


def test_bootstrap_prints_what_a_client_needs() -> None:
    for flag, expected in (("--grpc", "xds_servers"), ("--envoy", "dynamic_resources")):
        command = [PROGRAM, "bootstrap", flag, "--proxy", "10.0.0.1:80", "--node-id", "me"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        shown = json.loads(done.stdout)
        assert expected in shown
        assert shown["node"]["id"] == "me"
        assert "10.0.0.1" in done.stdout
    code, said = refused("bootstrap", "--proxy", "nowhere")
    assert (code, "nowhere" in said) == (2, True)
    code, said = refused("bootstrap", "--identity", "/nowhere", "--proxy", "127.0.0.1:1")
    assert (code, "cannot be read" in said) == (2, True)
    code, said = refused("bootstrap", "--identity", "/nowhere")
    assert (code, "nothing says where that is" in said) == (2, True)
