"""Which processes of Python models have died, by what the kernel shows of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inferno_backend.triton.stubs import Stubs, model_of
from inferno_runtime import guard
from tests.waiting import eventually_sync

BOTH = frozenset({"a", "a_b"})
# Takes the name of Triton's program, and a command line like its.
SLEEP = "import sys, time; time.sleep(60)"


def stub(folder: Path, instance: str, model: str = "a") -> subprocess.Popen[bytes]:
    program = folder / "triton_python_backend_stub"
    if not program.exists():
        program.symlink_to(sys.executable)
    words = [str(folder / "models" / model / "1" / "model.py"), "prefix-1", instance, "DEFAULT"]
    code = folder / "models" / model / "1" / "model.py"
    code.parent.mkdir(parents=True, exist_ok=True)
    code.write_text(SLEEP)
    made = subprocess.Popen([str(program), *words], executable=sys.executable)
    eventually_sync(lambda: guard.start_time(made.pid), 5, "it is there")
    return made


def end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Without collecting its status."""
    process.send_signal(how)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_one_that_died_by_itself_is_told_once_with_the_signal(tmp_path: Path) -> None:
    dead, alive = stub(tmp_path, "a_0_0"), stub(tmp_path, "a_0_1")
    try:
        stubs = Stubs(os.getpid())
        assert stubs.look(BOTH) == ()
        end(dead, signal.SIGSEGV)
        assert stubs.look(BOTH) == (), "Triton may be about to collect it"
        (death,) = stubs.look(BOTH)
        assert (death.stub.model, death.stub.instance, death.status) == ("a", "a_0_0", -signal.SIGSEGV)
        assert [stubs.look(BOTH) for _ in range(60)] == [()] * 60, "not again, also after another search"
    finally:
        for each in (dead, alive):
            each.kill()
            each.wait()


def test_one_that_triton_ends_and_collects_is_none_of_ours(tmp_path: Path) -> None:
    process = stub(tmp_path, "a_0_0")
    stubs = Stubs(os.getpid())
    assert stubs.look(BOTH) == ()
    process.kill()
    process.wait()
    assert stubs.look(BOTH) == stubs.look(BOTH) == ()


def test_what_dies_while_its_model_is_loaded_again_is_not_told(tmp_path: Path) -> None:
    process = stub(tmp_path, "a_0_0")
    try:
        stubs = Stubs(os.getpid())
        assert stubs.look(BOTH) == ()
        assert stubs.look(frozenset()) == ()
        end(process, signal.SIGKILL)
        assert stubs.look(BOTH) == stubs.look(BOTH) == ()
    finally:
        process.wait()


def test_other_children_are_no_concern(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        stubs = Stubs(os.getpid())
        assert stubs.look(BOTH) == ()
        end(process, signal.SIGKILL)
        assert stubs.look(BOTH) == stubs.look(BOTH) == ()
    finally:
        process.wait()


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (["stub", "/models/a/1/model.py", "k", "other_0_0", "DEFAULT", ""], "a"),
        (["stub", "/tmp/folder123/1/model.py", "k", "a_b_0_0", "DEFAULT", ""], "a_b"),
        (["stub", "/tmp/folder123/1/model.py", "k", "c_0_0", "DEFAULT", ""], ""),
    ],
)
def test_whose_a_process_is_stands_in_its_command_line(words: list[str], model: str) -> None:
    assert model_of(words, BOTH) == model
