from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from inferno_cli.cloud import folder
from inferno_cli.cloud.components import Component, Rank
from inferno_cli.cloud.follow import follow
from inferno_cli.cloud.supervisor import LEASH_VARIABLE, Supervisor
from inferno_runtime import process, remains
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import InfernoError, InvalidInput
from inferno_runtime.lifecycle import Stop, first_inferno_error
from tests.waiting import eventually

# Ready at once, ends on SIGTERM and notes when.
STEADY = f"""
import os, signal, sys, time
from inferno_runtime import notify
def end(*_):
    print("ended", time.monotonic(), flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
notify.stopping()
notify.ready(grpc="127.0.0.1:1", models=["m"], leash=os.environ.get({LEASH_VARIABLE!r}, ""))
while True:
    time.sleep(60)
"""
# Never ready.
SILENT = "import time; time.sleep(60)"
REFUSES = r"""
import sys, time
time.sleep(0.5)
sys.stderr.write("error[PORT_IN_USE] It is taken.\n  fix: Free it.\n")
sys.exit(2)
"""
# Ready, and deaf to SIGTERM; has a child of its own, which survives it.
STUBBORN = f"""
import signal, subprocess, sys, time
from inferno_runtime import notify
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", {SILENT!r}], start_new_session=True)
notify.ready(child=child.pid)
while True:
    time.sleep(60)
"""


def _component(name: str, code: str, rank: Rank = Rank.NODE) -> Component:
    return Component(name, rank, (sys.executable, "-c", code))


class Heard:
    """Progress, remembered."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def starting(self, name: str) -> None:
        self.events.append(("starting", name))

    def ready(self, name: str, pid: int) -> None:
        self.events.append(("ready", name))

    def died(self, name: str, how: str, delay: float) -> None:
        self.events.append(("died", name, how))

    def stopping(self, names: Sequence[str]) -> None:
        self.events.append(("stopping", *names))

    def killed(self, name: str, seconds: float) -> None:
        self.events.append(("killed", name))


@asynccontextmanager
async def running(
    data: Path, components: Sequence[Component], heard: Heard | None = None, **keywords: object
) -> AsyncIterator[Supervisor]:
    made = Supervisor(components, folder.prepare(data), heard or Heard(), SystemClock(), **keywords)  # type: ignore[arg-type]
    async with made.running():
        yield made


async def _killed_and_back(mesh: Supervisor) -> None:
    """Kill the first component and wait until another life of it is ready."""
    child = mesh.children[0]
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    facts = await asyncio.wait_for(child.facts.wait_for(lambda now: now is not None and now["pid"] != first), 30)
    assert facts is not None
    assert facts["pid"] == child.pid != first


async def test_every_component_becomes_ready_and_ends_in_order(socket_dir: Path) -> None:
    heard = Heard()
    components = [
        _component("governator", STEADY, Rank.GOVERNATOR),
        _component("proxy", STEADY, Rank.PROXY),
        _component("node-1", STEADY),
        _component("node-2", STEADY),
    ]
    async with running(socket_dir, components, heard) as mesh:
        assert await asyncio.wait_for(mesh.ready(Stop()), 30)
        assert mesh.waiting_for() == []
        pids = [child.pid for child in mesh.children]
        leashes = [(child.facts.value or {})["leash"] for child in mesh.children]
    assert leashes[:2] == ["", ""]
    assert leashes[2] == leashes[3] != ""
    assert heard.events[-3:] == [("stopping", "node-1", "node-2"), ("stopping", "proxy"), ("stopping", "governator")]
    ended = {c.component.name: float(c.log.read_text().split()[-1]) for c in mesh.children}
    assert max(ended["node-1"], ended["node-2"]) < ended["proxy"] < ended["governator"]
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


async def test_a_component_that_dies_is_started_again(socket_dir: Path) -> None:
    heard = Heard()
    async with running(socket_dir, [_component("node-1", STEADY)], heard) as mesh:
        await asyncio.wait_for(mesh.ready(Stop()), 30)
        await _killed_and_back(mesh)
        assert ("died", "node-1", "was killed by SIGKILL") in heard.events


async def test_a_component_that_ran_for_long_is_started_again_soon(socket_dir: Path) -> None:
    class Fast(SystemClock):
        """Every look at it is a minute later."""

        def __init__(self) -> None:
            self._minutes = 0

        def monotonic(self) -> float:
            self._minutes += 60
            return time.monotonic() + self._minutes

    heard = Heard()
    made = Supervisor([_component("n", STEADY)], folder.prepare(socket_dir), heard, Fast())
    async with made.running():
        await asyncio.wait_for(made.ready(Stop()), 30)
        for _ in range(2):
            await _killed_and_back(made)
    assert [event[0] for event in heard.events].count("died") == 2


async def test_a_component_that_cannot_start_stops_the_others_and_speaks_for_itself(socket_dir: Path) -> None:
    components = [_component("governator", STEADY, Rank.GOVERNATOR), _component("proxy", REFUSES, Rank.PROXY)]
    pids: list[int | None] = []

    async def start() -> None:
        async with running(socket_dir, components) as mesh:
            await eventually(lambda: all(child.pid for child in mesh.children), 30, "both run")
            pids.extend(child.pid for child in mesh.children)
            await mesh.ready(Stop())

    with pytest.raises(ExceptionGroup) as caught:
        await start()
    assert len(pids) == 2
    error = first_inferno_error(caught.value)
    assert isinstance(error, InvalidInput)
    assert (error.message, error.reason) == ("proxy: It is taken.", "PORT_IN_USE")
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


async def test_a_program_that_is_not_there_is_told(socket_dir: Path) -> None:
    async def start() -> None:
        async with running(socket_dir, [Component("proxy", Rank.PROXY, ("/no/such/program",))]) as mesh:
            await mesh.ready(Stop())

    with pytest.raises(ExceptionGroup) as caught:
        await start()
    error = first_inferno_error(caught.value)
    assert isinstance(error, InfernoError)
    assert error.message.startswith("/no/such/program cannot be started")


async def test_a_stop_while_starting_ends_what_runs(socket_dir: Path) -> None:
    stop = Stop()
    async with running(socket_dir, [_component("slow", SILENT)]) as mesh:
        waiting = asyncio.create_task(mesh.ready(stop))
        await eventually(lambda: mesh.children[0].pid is not None, 30, "it runs")
        pid = mesh.children[0].pid
        stop.request("signal SIGINT")
        assert await waiting is False
        assert mesh.waiting_for() == ["slow"]
    assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_what_does_not_end_is_killed_and_its_children_too(socket_dir: Path) -> None:
    heard = Heard()
    components = [_component("proxy", STUBBORN, Rank.PROXY)]
    async with running(socket_dir, components, heard, stop_seconds=0.5) as mesh:
        await asyncio.wait_for(mesh.ready(Stop()), 30)
        child = (mesh.children[0].facts.value or {})["child"]
    assert ("killed", "proxy") in heard.events
    assert ("killed", f"process {child}") in heard.events
    await eventually(lambda: not psutil.pid_exists(child), 5, "the child is gone")


async def test_logs_of_the_run_before_are_kept_once(socket_dir: Path) -> None:
    for word in ("first", "second"):
        code = f"print({word!r}, flush=True)\n" + STEADY
        async with running(socket_dir, [_component("n", code)]) as mesh:
            await asyncio.wait_for(mesh.ready(Stop()), 30)
    logs = socket_dir / "logs"
    assert (logs / "n.log").read_text().startswith("second")
    assert (logs / "n.log.1").read_text().startswith("first")


async def test_logs_can_be_followed(socket_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "print('hello from the node', flush=True)\n" + STEADY
    async with running(socket_dir, [_component("node-1", code)]) as mesh:
        following = asyncio.create_task(follow(mesh.children, SystemClock()))
        written = []

        def seen() -> bool:
            written.append(capsys.readouterr().err)
            return "[node-1] hello from the node\n" in "".join(written)

        await eventually(seen, 30, "the line is shown")
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def test_words_of_strangers_are_not_a_components(socket_dir: Path) -> None:
    # The component starts a child that claims to be ready, and only then is ready itself.
    code = (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'from inferno_runtime import notify; notify.ready(who=1)'])\n" + STEADY
    )
    async with running(socket_dir, [_component("n", code)]) as mesh:
        await asyncio.wait_for(mesh.ready(Stop()), 30)
        assert "who" not in (mesh.children[0].facts.value or {})


async def test_guards_are_killed_last_so_that_they_can_clean_up() -> None:
    program = [sys.executable, "-c", SILENT]
    guard = await process.spawn([sys.executable, "-m", "inferno_runtime.guard", "--", *program])
    await eventually(lambda: len(remains.family()) >= 2, 30, "the guard has started its program")
    guarded = [each.pid for each in remains.family() if each.pid != guard.pid]
    killed = await remains.end(remains.family(), 0.0)
    assert set(killed) == set(guarded)
    assert await asyncio.wait_for(guard.wait(), 10) == 128 + signal.SIGKILL


async def test_a_guard_that_does_not_end_either_is_killed() -> None:
    code = "import signal; signal.pause()"
    deaf = await process.spawn([sys.executable, "-c", code, "inferno_runtime.guard"])
    assert await remains.end([psutil.Process(deaf.pid)], 0.0) == [deaf.pid]
    assert await deaf.wait() == -signal.SIGKILL


async def test_what_ended_by_itself_is_left_alone() -> None:
    child = await process.spawn([sys.executable, "-c", "pass"])
    seen = [psutil.Process(child.pid)]
    await child.wait()
    assert await remains.end(seen, 5.0) == []
