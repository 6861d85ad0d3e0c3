"""The agent over a real Triton: it serves, it heals, and it leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil
import pytest

from inferno.registration.v1 import node_pb2
from tests.integration.inferno_backend.agent import agent, control, infer, shared_memory
from tests.integration.inferno_backend.conftest import FAILING
from tests.integration.inferno_backend.mesh import mesh
from tests.waiting import eventually

Repository = Callable[..., Path]

SERVING, FAILED = node_pb2.NODE_CONDITION_SERVING, node_pb2.NODE_CONDITION_FAILED
READY = node_pb2.MODEL_STATE_READY


def states(node: node_pb2.Node) -> dict[str, list[int]]:
    return {model.name: [version.state for version in model.versions] for model in node.models}


async def test_a_killed_triton_is_told_at_once_cleared_away_and_back_within_seconds(
    tmp_path: Path, repository: Repository
) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        assert facts["models"] == ["whoami"]
        assert await infer(facts["grpc"]) == str(facts["triton_pid"])
        prefix, family = node.launch["shm_prefix"], node.guard().children(recursive=True)
        loop = asyncio.get_running_loop()
        killed_at = loop.time()
        node.triton().kill()
        await far.registry.until(lambda one: one.condition == FAILED, 2, "the node has failed")
        assert far.registry.nodes[-1][0] - killed_at < 0.3
        await far.registry.until(lambda one: one.condition == SERVING, 30, "the node serves again")
        assert not [one for one in family if one.is_running()]
        assert not shared_memory(prefix)
        reasons = [one.condition_reason for _, _, one in far.registry.nodes]
        assert "Triton was killed by SIGKILL. It is started again." in reasons
        assert far.registry.node.grpc_address == facts["grpc"], "the address stays the same"
        assert await infer(facts["grpc"]) != str(facts["triton_pid"])
        assert [revision for _, revision, _ in far.registry.nodes] == list(range(1, len(far.registry.nodes) + 1))
        assert await node.end() == 0
        assert not node.leftovers()


async def test_a_stopped_triton_is_told_within_a_second_and_serves_again_when_it_answers(
    tmp_path: Path, repository: Repository
) -> None:
    models = ("--model-repository", str(repository("whoami")), "--stopped-after", "8")
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        await node.ready()
        pid = node.triton().pid
        loop = asyncio.get_running_loop()
        stopped_at = loop.time()
        node.triton().suspend()
        failed = await far.registry.until(lambda one: one.condition == FAILED, 3, "the node has failed")
        assert far.registry.nodes[-1][0] - stopped_at < 1.2
        assert "does not answer" in failed.condition_reason
        node.triton().resume()
        await far.registry.until(lambda one: one.condition == SERVING, 3, "the node serves again")
        assert node.triton().pid == pid, "a short silence costs no restart"


@pytest.mark.parametrize("patience", [(), ("--silent-after", "2", "--stopped-after", "2")])
async def test_a_triton_that_stays_stopped_is_killed_and_started_again(
    tmp_path: Path, repository: Repository, patience: tuple[str, ...]
) -> None:
    models = ("--model-repository", str(repository("whoami")), *patience)
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        await node.ready()
        silent = node.triton()
        silent.suspend()
        await eventually(lambda: not silent.is_running(), 15, "the silent Triton was killed")
        await far.registry.until(lambda one: one.condition == SERVING, 30, "another one serves")


async def test_without_healing_nothing_is_told_and_nothing_mended(tmp_path: Path, repository: Repository) -> None:
    models = ("--model-repository", str(repository("whoami")), "--no-healing")
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        await node.ready()
        node.triton().kill()
        before = far.registry.requests
        await eventually(lambda: far.registry.requests > before + 2, 10, "heartbeats go on")
        assert [one.condition for _, _, one in far.registry.nodes] == [SERVING]
        with pytest.raises(psutil.NoSuchProcess):
            node.triton()


async def test_models_come_and_go_with_the_repository_and_failures_are_told_in_one_line(
    tmp_path: Path, repository: Repository
) -> None:
    folder = repository("whoami", "repeat", "accumulate")
    (folder / "failing" / "1").mkdir(parents=True)
    (folder / "failing" / "1" / "model.py").write_text(FAILING)
    (folder / "failing" / "config.pbtxt").write_text((folder / "whoami" / "config.pbtxt").read_text())
    (folder / "typo").mkdir()
    (folder / "typo" / "config.pbtxt").write_text("max_batch_sise: 3\n")
    async with (
        mesh() as far,
        agent(tmp_path / "node", "--model-repository", str(folder), "--discovery-lb", far.address) as node,
    ):
        facts = await node.ready()
        assert facts["models"] == ["accumulate", "repeat", "whoami"]
        told = {model.name: model for model in far.registry.node.models}
        assert told["accumulate"].stateful
        assert not told["accumulate"].decoupled
        assert told["accumulate"].max_batch_size == 1
        assert told["repeat"].decoupled
        assert told["repeat"].instance_count == 1
        assert told["repeat"].platform == "python"
        assert told["failing"].versions[0].reason == "Internal: RuntimeError: no weights here"
        assert "max_batch_sise" in told["typo"].versions[0].reason
        assert "max_batch_sise" in node.said()
        loop = asyncio.get_running_loop()
        await control(facts["grpc"], "repeat", load=False)
        await far.registry.until(lambda one: READY not in states(one).get("repeat", []), 5, "it is gone")
        loaded = asyncio.create_task(control(facts["grpc"], "repeat", load=True))
        await loaded
        ready_at = loop.time()
        await far.registry.until(lambda one: states(one).get("repeat") == [READY], 5, "it is back")
        assert far.registry.nodes[-1][0] - ready_at < 0.25


async def test_an_agent_that_dies_leaves_triton_serving_and_the_next_one_takes_it_over(
    tmp_path: Path, repository: Repository
) -> None:
    arguments = ("--model-repository", str(repository("whoami")))
    async with mesh() as far, agent(tmp_path / "node", *arguments, "--discovery-lb", far.address) as first:
        facts = await first.ready()
        name = far.registry.node.node_id
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        assert await infer(facts["grpc"]) == str(facts["triton_pid"])
        incarnation = far.registry.node.incarnation
        async with agent(tmp_path / "node", *arguments, "--discovery-lb", far.address) as second:
            again = await second.ready()
            assert (again["triton_pid"], again["grpc"]) == (facts["triton_pid"], facts["grpc"])
            assert far.registry.node.node_id == name
            assert far.registry.node.incarnation > incarnation
            second.triton().kill()
            await far.registry.until(lambda one: one.condition == FAILED, 2, "the adopted one is watched as well")
            await far.registry.until(lambda one: one.condition == SERVING, 30, "and started again")
            assert await second.end() == 0
            assert not second.leftovers()


async def test_a_triton_left_with_other_models_is_replaced(tmp_path: Path, repository: Repository) -> None:
    folder = str(repository("whoami", "repeat"))
    async with agent(tmp_path / "node", "--model-repository", folder, "--model", "repeat") as first:
        left = await first.ready()
        await first.end(signal.SIGKILL)
        async with agent(tmp_path / "node", "--model-repository", folder, "--model", "whoami") as second:
            facts = await second.ready()
            assert facts["models"] == ["whoami"]
            assert facts["triton_pid"] != left["triton_pid"]
            assert not psutil.pid_exists(left["triton_pid"])


async def test_what_a_killed_guard_left_is_cleared_away_by_its_agent(tmp_path: Path, repository: Repository) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        await node.ready()
        prefix, family = node.launch["shm_prefix"], node.guard().children(recursive=True)
        node.guard().kill()
        await far.registry.until(lambda one: one.condition == FAILED, 2, "the node has failed")
        await far.registry.until(lambda one: one.condition == SERVING, 30, "the node serves again")
        assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        assert not shared_memory(prefix)
        reasons = [one.condition_reason for _, _, one in far.registry.nodes]
        assert "Triton was killed together with its guard. It is started again." in reasons


async def test_what_is_left_of_a_node_that_was_killed_whole_is_cleared_away_by_the_next_agent(
    tmp_path: Path, repository: Repository
) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with agent(tmp_path / "node", *models) as first:
        await first.ready()
        family, prefix = first.guard().children(recursive=True), first.launch["shm_prefix"]
        await first.end(signal.SIGKILL)
        first.guard().kill()
        async with agent(tmp_path / "node", *models) as second:
            await second.ready()
            assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
            assert not shared_memory(prefix)


async def test_the_end_of_the_leash_ends_triton_though_its_agent_is_dead(
    tmp_path: Path, repository: Repository
) -> None:
    inherited, held = os.pipe()
    models = ("--model-repository", str(repository("whoami")), "--leash-fd", str(inherited))
    async with agent(tmp_path / "node", *models, pass_fds=(inherited,)) as node:
        os.close(inherited)
        await node.ready()
        await node.end(signal.SIGKILL)
        assert node.triton().is_running()
        os.close(held)
        await eventually(lambda: not node.leftovers(), 10, "nothing of the node is left")


async def test_a_stop_lets_running_work_end_and_says_goodbye_last(tmp_path: Path, repository: Repository) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        # The queue behind the one shows that it has begun, whichever that is.
        running, waiting = (asyncio.create_task(infer(facts["grpc"], hold_ms=2000)) for _ in range(2))
        await eventually(lambda: any(m.queued for load in far.registry.loads for m in load.models), 10, "work waits")
        assert all(m.executing == 1.0 for load in far.registry.loads for m in load.models if m.queued)
        assert await node.end() == 0
        assert await running == await waiting == str(facts["triton_pid"])
        assert [one.condition for _, _, one in far.registry.nodes] == [SERVING, node_pb2.NODE_CONDITION_DRAINING]
        (goodbye,) = far.registry.goodbyes
        assert (goodbye.node_id, goodbye.incarnation) == (facts["node_id"], far.registry.node.incarnation)
        assert far.registry.requests_after_goodbye == 0
        assert not node.leftovers()
        assert far.store.requests("whoami") == 2, "the last work is reported too"


async def test_work_that_runs_when_the_stop_comes_is_finished_and_reported(
    tmp_path: Path, repository: Repository
) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        running = [asyncio.create_task(infer(facts["grpc"], hold_ms=hold)) for hold in (300, 2000)]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        # One after the other: the end of the first is the beginning of the second.
        assert await node.end() == 0
        assert {await each for each in running} == {str(facts["triton_pid"])}
        assert far.store.requests("whoami") == 2


async def test_work_that_does_not_end_in_time_is_cut_off(tmp_path: Path, repository: Repository) -> None:
    models = ("--model-repository", str(repository("whoami")), "--drain-timeout", "0")
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        running, waiting = (asyncio.create_task(infer(facts["grpc"], hold_ms=30_000, timeout=60)) for _ in range(2))
        await eventually(lambda: any(m.queued for load in far.registry.loads for m in load.models), 10, "work waits")
        assert await node.end(within=8) == 0
        for each in (running, waiting):
            with pytest.raises(grpc.aio.AioRpcError):
                await each
        assert not node.leftovers()


async def test_attached_to_a_triton_of_somebody_else_it_neither_starts_nor_ends_one(
    tmp_path: Path, repository: Repository
) -> None:
    models = ("--model-repository", str(repository("whoami")))
    async with agent(tmp_path / "owner", *models) as owner:
        facts = await owner.ready()
        async with (
            mesh() as far,
            agent(tmp_path / "guest", "--triton-url", facts["grpc"], "--discovery-lb", far.address) as guest,
        ):
            attached = await guest.ready()
            assert attached["grpc"] == facts["grpc"]
            assert attached["triton_pid"] == 0
            await eventually(far.store.samples, 10, "measuring has begun")
            await infer(facts["grpc"])
            await eventually(lambda: far.store.requests("whoami") == 1, 10, "its work is measured")
            owner.triton().suspend()
            await far.registry.until(lambda one: one.condition == FAILED, 3, "its silence is told")
            owner.triton().resume()
            await far.registry.until(lambda one: one.condition == SERVING, 5, "its answer too")
            assert await guest.end() == 0
        assert await infer(facts["grpc"]) == str(facts["triton_pid"])


async def test_a_port_that_is_taken_is_refused_with_its_holder(tmp_path: Path, repository: Repository) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        arguments = ("--model-repository", str(repository("whoami")), "--grpc-port", str(port))
        async with agent(tmp_path / "node", *arguments) as node:
            async with asyncio.timeout(60):
                assert await node.process.wait() == 4
            assert f"127.0.0.1:{port} is used by pid {os.getpid()}" in node.said()


async def test_a_triton_that_cannot_start_is_refused_with_what_it_said(tmp_path: Path, repository: Repository) -> None:
    program = tmp_path / "tritonserver"
    program.write_text("#!/bin/sh\necho 'error: no license for this moon' >&2\nexit 3\n")
    program.chmod(0o755)
    arguments = ("--model-repository", str(repository("whoami")), "--triton-binary", str(program))
    async with agent(tmp_path / "node", *arguments) as node:
        async with asyncio.timeout(60):
            assert await node.process.wait() == 4
        assert "Triton does not start. Triton ended with status 3: error: no license for this moon." in node.said()


async def test_a_stop_while_models_are_loading_leaves_nothing(tmp_path: Path, repository: Repository) -> None:
    folder = repository("whoami")
    model = folder / "whoami" / "1" / "model.py"
    slow = "    def initialize(self, args):\n        __import__('time').sleep(30)\n\n"
    text = model.read_text()
    model.write_text(text.replace("class TritonPythonModel:\n", f"class TritonPythonModel:\n{slow}", 1))
    async with agent(tmp_path / "node", "--model-repository", str(folder)) as node:
        await eventually(lambda: "loading: whoami" in node.said(), 20, "it is loading")
        assert await node.end() == 0
        assert not node.leftovers()


async def test_a_request_for_a_model_that_is_not_there_disturbs_nothing(tmp_path: Path, repository: Repository) -> None:
    async with agent(tmp_path / "node", "--model-repository", str(repository("whoami"))) as node:
        facts = await node.ready()
        with pytest.raises(grpc.aio.AioRpcError):
            await control(facts["grpc"], "nothing", load=True)
        assert await infer(facts["grpc"]) == str(facts["triton_pid"])


async def test_an_unknown_key_is_refused_with_the_nearest_one_and_its_line(tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text("backend:\n  model_repositry: /models\n")
    async with agent(tmp_path / "node", "--config", str(file)) as node:
        async with asyncio.timeout(60):
            assert await node.process.wait() == 2
        assert f"{file}:2: unknown key 'backend.model_repositry'" in node.said()
        assert "'model_repository'" in node.said()
