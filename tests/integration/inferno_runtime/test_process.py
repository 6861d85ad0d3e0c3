from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from inferno_runtime import process
from inferno_runtime.errors import Denied, InvalidInput, Unavailable
from tests.waiting import eventually

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
# Ignores SIGTERM.
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
# Ignores SIGTERM, starts a child that does so too, and prints its pid.
PARENT = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
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


@pytest.mark.parametrize("program", ["/no/such/program", "no-such-program", "/etc/passwd"])
async def test_a_program_that_cannot_be_executed_is_told(program: str) -> None:
    with pytest.raises(Unavailable, match=f"{program} cannot be started: it is no program"):
        await process.spawn([program])


async def test_a_folder_that_is_not_there_is_told() -> None:
    with pytest.raises(Unavailable, match="cannot be started: No such file"):
        await process.spawn([sys.executable], cwd=Path("/no/such/folder"))


async def test_a_program_is_found_on_the_path_it_is_given(tmp_path: Path) -> None:
    program = tmp_path / "greet"
    program.write_text("#!/bin/sh\necho hello $0\n")
    program.chmod(0o755)
    child = await process.spawn(["greet"], env={"PATH": f"{tmp_path}:/bin"}, stdout=asyncio.subprocess.PIPE)
    assert await _line(child) == f"hello {program}"
    assert await child.wait() == 0


async def test_signals_that_python_ignores_reach_the_program() -> None:
    code = "kill -PIPE $$; echo survived"
    child = await process.spawn(["/bin/sh", "-c", code], stdout=asyncio.subprocess.PIPE)
    assert await child.wait() == -signal.SIGPIPE


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


def test_an_address_of_another_machine_is_held_by_nobody_and_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be listened on"):
        process.port_holder("192.0.2.1", process.free_port())


def test_a_port_that_this_user_may_not_use_is_denied() -> None:
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(Denied, match="may not listen on port 1"):
            process.port_holder("127.0.0.1", 1)
    finally:
        os.seteuid(user)


async def test_the_processor_time_of_a_process_that_works_grows() -> None:
    child = await process.spawn([sys.executable, "-c", "while True: pass"])
    try:
        await eventually(lambda: process.cpu_seconds(child.pid) > 0.1, 10, "it has worked for a tenth of a second")
    finally:
        child.kill()
        await child.wait()
    assert process.cpu_seconds(child.pid) == 0


async def test_a_stopped_process_is_told_from_a_running_and_a_gone_one() -> None:
    child = await process.spawn(["sleep", "60"])
    try:
        assert not process.is_stopped(child.pid)
        child.send_signal(signal.SIGSTOP)
        await eventually(lambda: process.is_stopped(child.pid), 5, "the kernel shows it stopped")
    finally:
        child.kill()
        await child.wait()
    assert not process.is_stopped(child.pid)


def test_a_process_that_has_ended_runs_no_more_though_nobody_has_collected_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert process.runs(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process.runs(child.pid)
    assert not process.runs(child.pid)
