"""Nodes as processes: they outlive a governator, there is one of each, and nothing of them stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.local import LEASH_VARIABLE, command
from inferno_governator.providers.provider import Machine, MachineState, Provider
from inferno_runtime.errors import InvalidInput
from tests.integration.inferno_governator.providers.local_world import LocalWorld, program
from tests.integration.inferno_governator.providers.world import running
from tests.waiting import eventually

# A governator that starts a node again and again, until it is killed.
GOVERNATOR = """
import asyncio, os, sys
from pathlib import Path
from inferno_governator.pools.pool import Pool
from inferno_governator.providers.local import Local, Terms
from inferno_runtime.clock import SystemClock
pool = Pool("small", "local", ("m",), act=True, options={"command": sys.argv[2]})
async def main():
    print("up", flush=True)
    while True:
        await Local((pool,), Terms(Path(sys.argv[1]), -1, 5.0), SystemClock()).start("small-1", pool)
asyncio.run(main())
"""
DEAF = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)"])
print("deaf", flush=True)
time.sleep(600)
"""
# As an agent does with its Triton: a guard of its own in another session, on the leash it was given.
AGENT = """
import os, subprocess, sys, time
leash = os.environ[sys.argv[1]]
hold = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(600)"
guard = [sys.executable, "-m", "inferno_runtime.guard", "--leash-fd", leash, "--shm-prefix", sys.argv[2]]
if sys.argv[3:]:
    os.makedirs(os.path.dirname(sys.argv[3]))
    guard += ["--status-file", sys.argv[3]]
subprocess.Popen([*guard, "--", sys.executable, "-c", hold, "/dev/shm/" + sys.argv[2]],
                 pass_fds=[int(leash)], start_new_session=True)
time.sleep(600)
"""


async def only(provider: Provider, state: MachineState) -> Machine:
    async def seen() -> Machine:
        (found,) = await provider.nodes()
        assert found.state is state, found
        return found

    return await eventually(seen, 60, f"the node is {state}")


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.01, 0.03])
async def test_a_governator_that_is_killed_at_any_moment_leaves_one_process_at_most(
    local: LocalWorld, delay: float
) -> None:
    argv = [sys.executable, "-c", GOVERNATOR, str(local.folder), local.pool.options["command"]]
    child = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    assert child.stdout is not None
    await child.stdout.readline()
    await asyncio.sleep(delay)  # the moment
    child.kill()
    await child.communicate()
    await child.wait()
    provider = local.provider()
    await provider.start("small-1", local.pool)
    found = (await running(provider, "small-1"))["small-1"]
    pid = json.loads((local.folder / "small-1" / "process.json").read_text())["guard"]["pid"]
    await eventually(lambda: [each.pid for each in local.guards()] == [pid], 60, "there is one guard")
    assert await local.count() == 1
    await provider.stop("small-1")
    assert not psutil.pid_exists(int(found.machine))
    assert not (local.folder / "small-1").exists()


async def test_what_ends_by_itself_is_told_and_not_started_again_under_its_name(local: LocalWorld) -> None:
    pool = replace(local.pool, options={"command": program("print('no models'); raise SystemExit(3)")})
    provider = local.provider(pool)
    await provider.start("small-1", pool)
    found = await only(provider, MachineState.STOPPED)
    assert found.why == "Its process ended with status 3."
    await provider.start("small-1", pool)
    assert await only(provider, MachineState.STOPPED) == found
    await provider.stop("small-1")
    assert await provider.nodes() == []
    assert (local.folder / "logs" / "small-1.log").read_text() == "no models\n"


async def test_a_deaf_node_is_killed_with_all_that_it_started(local: LocalWorld) -> None:
    pool = replace(local.pool, options={"command": program(DEAF)})
    provider = local.provider(pool, grace=0.2)
    await provider.start("small-1", pool)
    found = (await running(provider, "small-1"))["small-1"]
    agent = psutil.Process(int(found.machine))
    log = local.folder / "small-1" / "node.log"
    await eventually(lambda: "deaf" in log.read_text() and agent.children(), 30, "it is deaf and has a child")
    family = [agent, *agent.children()]
    await provider.stop("small-1")
    assert not [each for each in family if each.is_running()]


async def test_nodes_end_with_the_leash_and_none_starts_after_it(local: LocalWorld) -> None:
    ends, held = os.pipe()
    provider = local.provider(leash_fd=ends)
    await provider.start("small-1", local.pool)
    await running(provider, "small-1")
    os.close(held)
    assert (await only(provider, MachineState.STOPPED)).why == "Its process was killed by signal 15."
    await provider.stop("small-1")
    await provider.start("small-2", local.pool)
    await only(provider, MachineState.STOPPED)
    os.close(ends)


@pytest.mark.parametrize("with_guard", [False, True])
async def test_what_a_killed_agent_leaves_running_ends_too_with_its_shared_memory(
    local: LocalWorld, *, with_guard: bool
) -> None:
    prefix = f"local-test-{uuid.uuid4().hex[:8]}"
    pool = replace(local.pool, options={"command": program(AGENT, LEASH_VARIABLE, prefix)})
    provider = local.provider(pool)
    await provider.start("small-1", pool)
    found = (await running(provider, "small-1"))["small-1"]
    memory = Path("/dev/shm") / prefix
    await eventually(memory.exists, 30, "the model server holds shared memory")
    agent = psutil.Process(int(found.machine))
    guard = agent.parent()
    family = agent.children(recursive=True)
    assert guard is not None
    assert len(family) == 2
    for each in (guard, agent) if with_guard else (agent,):
        each.send_signal(signal.SIGKILL)
    await eventually(lambda: not memory.exists() and not any(map(_lives, family)), 60, "nothing of it is left")
    assert "killed" in (await only(provider, MachineState.STOPPED)).why
    await provider.stop("small-1")
    assert await provider.nodes() == []


async def test_where_every_guard_was_killed_too_the_stop_removes_the_shared_memory(
    local: LocalWorld,
) -> None:
    prefix = f"local-test-{uuid.uuid4().hex[:8]}-"
    status = str(local.folder / "small-1" / "data" / "triton" / "status.json")
    pool = replace(local.pool, options={"command": program(AGENT, LEASH_VARIABLE, prefix, status)})
    provider = local.provider(pool)
    await provider.start("small-1", pool)
    found = (await running(provider, "small-1"))["small-1"]
    memory = Path("/dev/shm") / prefix
    await eventually(memory.exists, 30, "the model server holds shared memory")
    agent = psutil.Process(int(found.machine))
    guard = agent.parent()
    assert guard is not None
    for each in (guard, agent, *agent.children(recursive=True)):
        each.kill()
    await only(provider, MachineState.STOPPED)
    assert memory.exists()
    await provider.stop("small-1")
    assert not memory.exists()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_a_node_is_an_inferno_backend_with_what_its_pool_says(tmp_path: Path) -> None:
    pool = Pool(
        "small",
        "local",
        ("a", "b"),
        spot=True,
        micros_per_hour=1_250_000,
        region="here",
        options={"model_repository": "/models", "discovery_lb": "127.0.0.1:8080", "arguments": "--no-telemetry"},
    )
    words = command(pool, "small-1", tmp_path)
    assert words[0] == str(Path(sys.executable).with_name("inferno-backend"))
    given = dict(zip(words[1:-2:2], words[2:-2:2], strict=True))
    assert given == {
        "--node-id": "small-1",
        "--data-dir": str(tmp_path / "data"),
        "--discovery-lb": "127.0.0.1:8080",
        "--model-repository": "/models",
        "--model": "a,b",
        "--region": "here",
        "--price-per-hour": "1.25",
        "--labels": "inferno-pool=small",
    }
    assert words[-2:] == ["--spot", "--no-telemetry"]


async def test_names_and_commands_that_cannot_be_are_refused(local: LocalWorld) -> None:
    provider = local.provider()
    await provider.stop("../../etc")
    with pytest.raises(InvalidInput, match="cannot be the name"):
        await provider.start("../up", local.pool)
    for command_line, why in (("'open", "cannot be split"), ("/no/such/program", "no program")):
        with pytest.raises(InvalidInput, match=why):
            await local.provider(replace(local.pool, options={"command": command_line})).check()
