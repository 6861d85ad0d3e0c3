from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from inferno_runtime import process
from inferno_runtime.errors import Unavailable
from tests.waiting import eventually

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
# Ignores SIGTERM.
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
# Starts a child that ignores SIGTERM, and prints its pid.
PARENT = (
    "import subprocess, sys, time;"
    f"child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], stdout=subprocess.PIPE); child.stdout.readline();"
    "print(child.pid, flush=True); time.sleep(60)"
)


async def _python(code: str, **keywords: object) -> asyncio.subprocess.Process:
    return await process.spawn([sys.executable, "-c", code], stdout=asyncio.subprocess.PIPE, **keywords)  # type: ignore[arg-type]


async def _line(child: asyncio.subprocess.Process) -> str:
    assert child.stdout is not None
    return (await child.stdout.readline()).decode().strip()


async def test_a_child_ends_on_sigterm_and_ending_it_again_is_harmless() -> None:
    child = await _python(SLEEP)
    assert await _line(child) == "up"
    assert await process.terminate(child, grace=10) == -signal.SIGTERM
    assert await process.terminate(child, grace=10) == -signal.SIGTERM


async def test_a_child_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    child = await _python(STUBBORN)
    assert await _line(child) == "up"
    assert await process.terminate(child, grace=0.05) == -signal.SIGKILL


async def test_the_whole_group_of_a_leader_is_killed() -> None:
    child = await _python(PARENT, new_group=True)
    grandchild = psutil.Process(int(await _line(child)))
    assert os.getpgid(child.pid) == child.pid
    child.send_signal(signal.SIGSTOP)
    assert await process.terminate(child, grace=0.05) == -signal.SIGKILL
    await eventually(
        lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE, 5, "the grandchild is dead"
    )


async def test_a_process_that_is_gone_has_no_group_to_lead() -> None:
    child = await _python("pass")
    await child.wait()
    assert await process.terminate(child, grace=1) == 0


@pytest.mark.parametrize(("die_with_parent", "survives"), [(signal.SIGKILL, False), (None, True)])
async def test_a_child_follows_its_parent_into_death_when_it_should(
    die_with_parent: signal.Signals | None, survives: bool
) -> None:
    wish = "None" if die_with_parent is None else f"signal.{die_with_parent.name}"
    code = (
        "import asyncio, signal, sys, os\n"
        "from inferno_runtime import process\n"
        "async def main():\n"
        f"    child = await process.spawn([sys.executable, '-c', {SLEEP!r}], stdout=asyncio.subprocess.PIPE,"
        f" die_with_parent={wish})\n"
        "    await child.stdout.readline()\n"
        "    print(child.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    parent = await _python(code)
    orphan = psutil.Process(int(await _line(parent)))
    assert await parent.wait() == -signal.SIGKILL

    def dead() -> bool:
        return not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE

    try:
        if survives:
            assert not dead()
        else:
            await eventually(dead, 5, "the child died with its parent")
    finally:
        if not dead():
            orphan.kill()


async def test_a_program_that_does_not_exist_is_told() -> None:
    with pytest.raises(Unavailable, match="/no/such/program cannot be started: No such file"):
        await process.spawn(["/no/such/program"])


async def test_environment_folder_and_descriptors_reach_the_child(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    code = f"import os; print(os.environ['A'], os.getcwd()); os.write({writing}, b'x')"
    child = await _python(code, env={"A": "b"}, cwd=tmp_path, pass_fds=[writing])
    assert await _line(child) == f"b {tmp_path}"
    assert await child.wait() == 0
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_free_port_is_held_by_nobody_until_somebody_listens(host: str) -> None:
    port = process.free_port(host)
    assert process.port_holder(host, port) is None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as holder:
        holder.bind((host, port))
        holder.listen()
        assert process.port_holder(host, port) == f"pid {os.getpid()} ({psutil.Process().name()})"


def test_a_port_that_is_bound_without_a_listener_is_held_by_another_process() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        assert process.port_holder("127.0.0.1", holder.getsockname()[1]) == "another process"
