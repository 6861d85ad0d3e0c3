"""Models that take a real Triton along, or would: the others serve, and the reason is told."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from inferno.registration.v1 import node_pb2
from inferno.registration.v1 import registration_service_pb2 as registration
from tests.integration.inferno_backend.agent import agent, infer
from tests.integration.inferno_backend.mesh import Mesh, mesh

Repository = Callable[..., Path]

READY = node_pb2.MODEL_STATE_READY
WARM_UP = """
model_warmup [{ name: "first" batch_size: 1
  inputs { key: "hold_ms" value { data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } } }]
"""
# A process takes a moment to die by a signal, in which it could finish the load.
KILL = "os.kill(os.getppid(), 11); time.sleep(60)"
HEAD = "    def execute(self, requests):\n"


def derive(folder: Path, name: str, *, config: str = "", code: str = "") -> Path:
    """A model like ``whoami``, with more in its configuration, and code that runs before each execution."""
    made = folder / name
    shutil.copytree(folder / "whoami", made)
    with (made / "config.pbtxt").open("a") as file:
        file.write(config)
    model = made / "1" / "model.py"
    model.write_text(model.read_text().replace(HEAD, f"{HEAD}        {code or 'pass'}\n"))
    return made


def states(node: node_pb2.Node) -> dict[str, tuple[list[int], str]]:
    return {one.name: ([each.state for each in one.versions], one.versions[0].reason) for one in node.models}


def wish(far: Mesh, model: str, generation: int) -> None:
    one = registration.DesiredModel(model=model, loaded=True, generation=generation)
    far.registry.wanted.set(registration.RegisterResponse(desired_models=[one]))


async def test_models_that_cannot_be_loaded_or_end_triton_are_found_and_left_out_until_they_are_mended(
    tmp_path: Path, repository: Repository
) -> None:
    folder = repository("whoami")
    bad = derive(folder, "deadly", config=WARM_UP, code=KILL)
    derive(folder, "fileless")
    (folder / "fileless" / "1" / "model.py").unlink()
    derive(folder, "versionless")
    shutil.rmtree(folder / "versionless" / "1")
    derive(folder, "importing")
    (folder / "importing" / "1" / "model.py").write_text("import no_such_module\n")
    arguments = ("--model-repository", str(folder))
    async with mesh() as far, agent(tmp_path / "node", *arguments, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        # All that was being loaded when Triton ended twice is loaded one by one.
        last = await far.registry.until(
            lambda one: states(one).get("whoami") == ([READY], ""), 60, "the good one serves"
        )
        assert await infer(facts["grpc"]) == str(node.triton().pid)
        told = states(last)
        assert told["fileless"][1] == "fileless/1/model.py does not exist."
        assert told["versionless"][1] == "versionless has no version: its files belong into versionless/1/."
        assert "No module named 'no_such_module'" in told["importing"][1]
        left_out = "It is left out until somebody loads it."
        last = await far.registry.until(lambda one: left_out in states(one)["deadly"][1], 60, "the bad one was found")
        assert states(last)["deadly"][1].startswith("Triton was killed by SIGSEGV while it loaded deadly")
        await far.registry.until(lambda one: one.condition == node_pb2.NODE_CONDITION_SERVING, 30, "it serves")
        wish(far, "deadly", 1)
        await far.registry.until(lambda one: one.condition == node_pb2.NODE_CONDITION_FAILED, 30, "it did it again")
        await far.registry.until(lambda one: one.condition == node_pb2.NODE_CONDITION_SERVING, 30, "it serves again")
        assert states(far.registry.node)["whoami"][0] == [READY]
        model = bad / "1" / "model.py"
        model.write_text(model.read_text().replace(KILL, "pass"))
        wish(far, "deadly", 2)
        await far.registry.until(lambda one: states(one)["deadly"] == ([READY], ""), 30, "mended, it serves")
        assert await infer(facts["grpc"]) == str(node.triton().pid)


async def test_a_model_is_offered_when_its_warm_up_has_ended_and_not_before(
    tmp_path: Path, repository: Repository
) -> None:
    folder = repository("whoami")
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    code = f"open('{begun}', 'w').close(); [time.sleep(0.02) for _ in iter(lambda: os.path.exists('{gate}'), True)]"
    derive(folder, "warm", config=WARM_UP, code=code)
    derive(folder, "cold", config=WARM_UP, code="raise RuntimeError('too cold')")
    arguments = ("--model-repository", str(folder), "--model", "whoami")
    async with mesh() as far, agent(tmp_path / "node", *arguments, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        wish(far, "warm", 1)
        async with asyncio.timeout(60):
            while not begun.exists():
                assert await infer(facts["grpc"]) == str(facts["triton_pid"])
        seen = await far.registry.until(lambda one: "warm" in states(one), 10, "it is being loaded")
        assert states(seen)["warm"][0] == [node_pb2.MODEL_STATE_LOADING]
        before = far.registry.requests
        await far.registry.until(lambda _: far.registry.requests > before + 2, 10, "time has passed")
        assert states(far.registry.node)["warm"][0] == [node_pb2.MODEL_STATE_LOADING]
        gate.touch()
        await far.registry.until(lambda one: states(one)["warm"][0] == [READY], 10, "warm, it is offered")
        wish(far, "cold", 1)
        # By Triton's own words if it survives it (see triton/suspicion.py).
        await far.registry.until(
            lambda one: "RuntimeError: too cold" in states(one).get("cold", ([], ""))[1], 20, "why"
        )


async def test_a_triton_that_never_gets_ready_is_given_up_with_what_it_was_loading(
    tmp_path: Path, repository: Repository
) -> None:
    folder = repository("whoami")
    shutil.move(derive(folder, "endless", config=WARM_UP, code="time.sleep(600)"), tmp_path / "endless")
    shutil.rmtree(folder / "whoami")
    shutil.move(tmp_path / "endless", folder / "endless")
    arguments = ("--model-repository", str(folder), "--start-timeout", "4")
    async with agent(tmp_path / "node", *arguments) as node:
        async with asyncio.timeout(60):
            assert await node.process.wait() == 124
        assert "did not get ready within 4 s (--start-timeout): it was still loading endless." in node.said()
        assert not node.leftovers()


async def test_an_attached_triton_that_is_not_there_is_given_up_with_its_address(tmp_path: Path) -> None:
    arguments = ("--triton-url", "127.0.0.1:1", "--start-timeout", "1")
    async with agent(tmp_path / "node", *arguments) as node:
        async with asyncio.timeout(60):
            assert await node.process.wait() == 4
        assert "No Triton answers at 127.0.0.1:1 within 1 s (--start-timeout)." in node.said()


async def test_a_model_whose_process_has_died_is_told_with_the_cause_and_loaded_again(
    tmp_path: Path, repository: Repository
) -> None:
    folder = repository("whoami", "repeat")
    arguments = ("--model-repository", str(folder))
    async with mesh() as far, agent(tmp_path / "node", *arguments, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        triton = node.triton()

        def process() -> psutil.Process:
            (found,) = [one for one in triton.children() if "whoami_0_0" in " ".join(one.cmdline())]
            return found

        first = process()
        first.send_signal(signal.SIGSEGV)
        lost = await far.registry.until(lambda one: READY not in states(one)["whoami"][0], 5, "it is not offered")
        assert states(lost)["whoami"][1].startswith("The process of whoami_0_0 was killed by SIGSEGV.")
        assert lost.condition == node_pb2.NODE_CONDITION_SERVING
        assert states(lost)["repeat"][0] == [READY]
        await far.registry.until(lambda one: states(one)["whoami"] == ([READY], ""), 30, "it is back")
        assert await infer(facts["grpc"]) == str(triton.pid)
        assert process() != first
        seen = [states(one).get("repeat") for _, _, one in far.registry.nodes]
        assert all(one == ([READY], "") for one in seen), "the others never stopped"
        assert {model.name: model.lost_processes for model in far.registry.node.models} == {"repeat": 0, "whoami": 1}


async def test_a_node_with_too_little_shared_memory_is_refused_with_figures(
    tmp_path: Path, repository: Repository
) -> None:
    small = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    script = 'mount -t tmpfs -o size=400k none /dev/shm && exec "$@"'
    if await ended(*small, script, "sh", "true"):
        pytest.skip("this machine lets no test have a /dev/shm of its own (unshare, mount)")
    program = str(Path(sys.executable).with_name("inferno-backend"))
    process = await asyncio.create_subprocess_exec(
        *(*small, script, "sh", program, "--data-dir", str(tmp_path / "node")),
        *("--model-repository", str(repository("whoami"))),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    assert process.returncode == 4, said
    assert "/dev/shm has 0.4 MiB free of 0.4, and each instance of a Python model takes 1 MiB" in said.decode()


async def ended(*argv: str) -> int:
    quiet = asyncio.subprocess.DEVNULL
    return await (await asyncio.create_subprocess_exec(*argv, stdout=quiet, stderr=quiet)).wait()
