"""The guard owns a program's whole family: nothing of it outlives the program, the guard or the leash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from inferno_runtime import guard
from tests.waiting import eventually_sync

SLEEP = "import time; time.sleep(60)"
# A program with a child in a session of its own that holds shared memory and survives its parent, as Triton's do.
FAMILY = """
import subprocess, sys, time
orphan = "import os, sys, time; os.setsid(); open(sys.argv[1], 'w').close(); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", orphan, sys.argv[1]])
time.sleep(60)
"""
DEAF = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(60)"


class Guarded:
    """A guard under test, what it wrote, and its leash."""

    def __init__(self, folder: Path, program: str, *arguments: str, grace: float, leash: bool) -> None:
        self.status_file = folder / "status.json"
        self.prefix = f"guard-test-{uuid.uuid4().hex[:8]}-"
        self.memory = Path("/dev/shm") / f"{self.prefix}region"
        self.leash = -1
        argv = [sys.executable, "-m", "inferno_runtime.guard", "--shm-prefix", self.prefix, "--grace", str(grace)]
        argv += ["--status-file", str(self.status_file)]
        inherited = -1
        if leash:
            inherited, self.leash = os.pipe()
            argv += ["--leash-fd", str(inherited)]
        argv += ["--", sys.executable, "-c", program, *(each.format(memory=self.memory) for each in arguments)]
        self.process = subprocess.Popen(argv, pass_fds=(inherited,) if leash else ())
        if leash:
            os.close(inherited)
        eventually_sync(self.status_file.exists, 10, "the guard has started")

    @property
    def status(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.status_file.read_text())
        return facts

    @property
    def child(self) -> psutil.Process:
        return psutil.Process(self.status["child"]["pid"])

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def let_go(self) -> None:
        os.close(self.leash)
        self.leash = -1


Start = Callable[..., Guarded]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Guarded] = []

    def launch(program: str, *arguments: str, grace: float = 5.0, leash: bool = False) -> Guarded:
        started.append(Guarded(tmp_path, program, *arguments, grace=grace, leash=leash))
        return started[-1]

    yield launch
    for each in started:
        if each.leash >= 0:
            each.let_go()
        if each.process.poll() is None:
            each.process.terminate()
        each.process.wait(10)


def test_it_exits_with_the_programs_status(start: Start) -> None:
    guarded = start("raise SystemExit(7)")
    assert guarded.process.wait(10) == 7
    assert guarded.status["exit"] == 7


def test_a_killed_program_is_reported_with_its_signal(start: Start) -> None:
    guarded = start(SLEEP)
    guarded.child.kill()
    assert guarded.process.wait(10) == 128 + signal.SIGKILL
    assert guarded.status["exit"] == -signal.SIGKILL


def test_nothing_of_the_family_and_no_shared_memory_outlives_a_killed_program(start: Start) -> None:
    guarded = start(FAMILY, "{memory}")
    eventually_sync(guarded.memory.exists, 10, "the orphan-to-be holds shared memory")
    family = guarded.family()
    assert len(family) == 2
    guarded.child.kill()
    guarded.process.wait(10)
    assert not [each for each in family if each.is_running()]
    assert not guarded.memory.exists()


def test_a_guard_in_the_family_of_a_killed_program_removes_what_it_alone_knows_of(start: Start) -> None:
    # As an agent that is killed leaves its Triton's guard behind.
    inner = [sys.executable, "-m", "inferno_runtime.guard", "--shm-prefix", "{prefix}", "--", sys.executable, "-c"]
    hold = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(60)"
    program = (
        "import subprocess, sys, time\n"
        f"argv = {[*inner, hold]!r}\n"
        "argv[argv.index('{prefix}')] = sys.argv[1].rpartition('/')[2] + '-inner'\n"
        "subprocess.Popen([*argv, sys.argv[1] + '-inner'], start_new_session=True)\n"
        "time.sleep(60)\n"
    )
    guarded = start(program, "/dev/shm/" + f"inner-{uuid.uuid4().hex[:8]}")
    memory = next(each for each in guarded.child.cmdline() if each.startswith("/dev/shm/inner-")) + "-inner"
    eventually_sync(Path(memory).exists, 10, "the inner program holds shared memory")
    family = guarded.family()
    guarded.child.kill()
    guarded.process.wait(20)
    assert not [each for each in family if each.is_running()]
    assert not Path(memory).exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_guard_ends_the_program_in_order(start: Start, how: signal.Signals) -> None:
    guarded = start(SLEEP)
    guarded.process.send_signal(how)
    assert guarded.process.wait(10) == 128 + signal.SIGTERM


def test_a_program_deaf_to_sigterm_is_killed_after_the_grace(start: Start, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    guarded = start(DEAF, str(deaf), grace=0.2)
    eventually_sync(deaf.exists, 10, "the program ignores SIGTERM")
    guarded.process.terminate()
    assert guarded.process.wait(10) == 128 + signal.SIGKILL


def test_a_stopped_program_can_be_ended_in_order(start: Start) -> None:
    guarded = start(SLEEP)
    guarded.child.suspend()
    guarded.process.terminate()
    assert guarded.process.wait(10) == 128 + signal.SIGTERM


def test_the_end_of_the_leash_ends_everything(start: Start) -> None:
    guarded = start(FAMILY, "{memory}", leash=True)
    eventually_sync(guarded.memory.exists, 10, "the family is complete")
    family = guarded.family()
    guarded.let_go()
    guarded.process.wait(10)
    assert not [each for each in family if each.is_running()]
    assert not guarded.memory.exists()


def test_the_program_dies_with_a_killed_guard(start: Start) -> None:
    guarded = start(SLEEP)
    child = guarded.child
    guarded.process.kill()
    guarded.process.wait(10)
    eventually_sync(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10, "the program is dead")


def test_a_program_that_is_not_there_is_reported_with_127(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "inferno_runtime.guard", "--", str(tmp_path / "no-such-program")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 127
    assert "no-such-program cannot be started: No such file or directory" in done.stderr


def test_a_process_is_told_from_another_with_its_pid() -> None:
    started = guard.start_time(os.getpid())
    assert started is not None
    assert guard.alive(os.getpid(), started)
    assert not guard.alive(os.getpid(), started + 1)


def test_a_process_that_is_not_there_has_no_start_time() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait(10)
    assert guard.start_time(ended.pid) is None
    assert not guard.alive(ended.pid, 1)


def test_an_empty_prefix_removes_no_shared_memory() -> None:
    memory = Path("/dev/shm") / f"guard-test-{uuid.uuid4().hex[:8]}"
    memory.touch()
    guard.remove_shared_memory("")
    assert memory.exists()
    guard.remove_shared_memory(memory.name)
    assert not memory.exists()
