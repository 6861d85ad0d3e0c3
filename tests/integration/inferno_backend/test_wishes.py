"""What the mesh wants of a node is done by its agent, on a real Triton."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from inferno.registration.v1 import node_pb2
from inferno.registration.v1 import registration_service_pb2 as registration
from inferno_backend.hardware import cpu
from inferno_runtime.errors import Fenced
from tests.integration.inferno_backend.agent import agent, control, infer
from tests.integration.inferno_backend.mesh import Mesh, mesh
from tests.waiting import eventually

Repository = Callable[..., Path]

SERVING, DRAINING = node_pb2.NODE_CONDITION_SERVING, node_pb2.NODE_CONDITION_DRAINING
READY, UNLOADING = node_pb2.MODEL_STATE_READY, node_pb2.MODEL_STATE_UNLOADING


def states(node: node_pb2.Node, model: str) -> list[int]:
    return [version.state for one in node.models if one.name == model for version in one.versions]


def wish(far: Mesh, model: str, *, loaded: bool, generation: int) -> None:
    one = registration.DesiredModel(model=model, loaded=loaded, generation=generation)
    far.registry.wanted.set(registration.RegisterResponse(desired_models=[one]))


async def test_a_model_is_unloaded_and_loaded_as_the_mesh_wants_withdrawn_before_and_kept_so_over_a_restart(
    tmp_path: Path, repository: Repository
) -> None:
    models = ("--model-repository", str(repository("whoami", "repeat")))
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        wish(far, "whoami", loaded=False, generation=1)
        await far.registry.until(lambda one: READY not in states(one, "whoami"), 10, "it is not offered any more")
        assert states(far.registry.node, "whoami") == [UNLOADING]
        assert await infer(facts["grpc"]) == str(facts["triton_pid"]), "what is still on its way is served"
        await far.registry.until(lambda one: states(one, "whoami") == [node_pb2.MODEL_STATE_UNAVAILABLE], 10, "gone")
        node.triton().kill()
        await far.registry.until(lambda one: one.condition == node_pb2.NODE_CONDITION_FAILED, 2, "the node has failed")
        await far.registry.until(lambda one: one.condition == SERVING, 30, "the node serves again")
        assert READY not in states(far.registry.node, "whoami"), "an unloaded model stays unloaded"
        assert states(far.registry.node, "repeat") == [READY]
        wish(far, "whoami", loaded=True, generation=2)
        await far.registry.until(lambda one: states(one, "whoami") == [READY], 20, "it is back")
        await control(facts["grpc"], "whoami", load=False)
        await far.registry.until(lambda one: READY not in states(one, "whoami"), 10, "its owner has unloaded it")
        far.registry.wanted.set(registration.RegisterResponse())
        wish(far, "whoami", loaded=True, generation=2)
        before = far.registry.requests
        await eventually(lambda: far.registry.requests > before + 2, 10, "time has passed")
        assert READY not in states(far.registry.node, "whoami"), "a wish is acted on once"


async def test_a_wish_that_fails_is_told_and_the_model_offered_again(tmp_path: Path, repository: Repository) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        await node.ready()
        wish(far, "nothing", loaded=True, generation=1)
        await eventually(lambda: "loading a model failed" in node.said(), 10, "the failure is told")
        assert states(far.registry.node, "whoami") == [READY]


async def test_a_model_is_unloaded_though_a_data_plane_never_confirms(tmp_path: Path, repository: Repository) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        await node.ready()
        far.registry.applies = False
        wish(far, "whoami", loaded=False, generation=1)
        await far.registry.until(lambda one: states(one, "whoami") == [node_pb2.MODEL_STATE_UNAVAILABLE], 10, "gone")
        assert "has not confirmed in time" in node.said()


async def test_a_drain_wanted_by_one_of_two_proxies_is_told_to_both_and_taken_back(
    tmp_path: Path, repository: Repository
) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with mesh() as one, mesh() as two:
        proxies = ("--discovery-lb", f"{one.address},{two.address}")
        async with agent(tmp_path / "node", *models, *proxies) as node:
            await node.ready()
            await two.registry.until(lambda node: node.condition == SERVING, 10, "registered with both")
            two.registry.wanted.set(registration.RegisterResponse(desired_phase=registration.DESIRED_PHASE_DRAIN))
            drained = await one.registry.until(lambda node: node.condition == DRAINING, 5, "drained")
            assert two.address in drained.condition_reason
            two.registry.wanted.set(registration.RegisterResponse())
            await one.registry.until(lambda node: node.condition == SERVING, 5, "serving again")
            assert await node.end() == 0
            assert len(one.registry.goodbyes) == len(two.registry.goodbyes) == 1


async def test_a_node_fenced_by_a_newer_life_ends_with_its_triton_and_says_why(
    tmp_path: Path, repository: Repository
) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        await node.ready()
        far.registry.refusal = lambda: Fenced("A newer life of this node has registered.", reason="FENCED")
        far.registry.end_streams.set(1)
        async with asyncio.timeout(60):
            assert await node.process.wait() == 1
        assert "error[FENCED] A newer life of this node has registered." in node.said()
        assert "Traceback" not in node.said()
        assert not node.leftovers()


async def test_a_model_whose_work_does_not_move_is_withdrawn_and_offered_again_when_it_does(
    tmp_path: Path, repository: Repository
) -> None:
    models = ("--model-repository", str(repository("whoami")), "--stall-after", "0.6")
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        await infer(facts["grpc"])
        calls = [asyncio.create_task(infer(facts["grpc"], hold_ms=3000)) for _ in range(2)]
        stalled = await far.registry.until(lambda one: READY not in states(one, "whoami"), 4, "it is withdrawn")
        assert "requests wait and none has ended" in stalled.models[0].versions[0].reason
        assert stalled.condition == SERVING, "the node's other models go on"
        assert {await call for call in calls} == {str(facts["triton_pid"])}
        await far.registry.until(lambda one: states(one, "whoami") == [READY], 5, "it is offered again")


async def test_telemetry_of_every_request_reaches_the_governator(tmp_path: Path, repository: Repository) -> None:
    models = ("--model-repository", str(repository("whoami")), "--price-per-hour", "3.60", "--region", "here")
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        for _ in range(7):
            await infer(facts["grpc"], hold_ms=5)
        with pytest.raises(grpc.aio.AioRpcError):
            await infer(facts["grpc"], hold_ms=2000, timeout=0.2)
        await eventually(lambda: far.store.requests("whoami") >= 7, 10, "all requests are reported")
        done = [one.model for one in far.store.samples() if one.model.requests]
        assert sum(one.compute_micros for one in done) >= 7 * 5000
        assert sum(one.request_micros for one in done) >= sum(one.compute_micros for one in done)
        cpus = [one.device for one in far.store.samples() if one.HasField("device") and one.device.kind == "cpu"]
        assert cpus
        assert all(0 <= one.utilization <= 1 for one in cpus)
        told = {process.pid for one in cpus for process in one.processes}
        assert {each.pid for each in [node.triton(), *node.triton().children()]} <= told, "its Python processes, too"
        assert far.registry.node.hardware.cpu_model == cpu.model()
        assert [disk.purpose for disk in far.registry.node.hardware.disks] == ["data", "models"]
        assert far.store.first_of_stream[0].facts.price_micros_per_hour == 3_600_000
        assert far.store.first_of_stream[0].facts.region == "here"
