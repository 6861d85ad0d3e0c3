"""What every test gets: no leaked task, no leaked process, a folder short enough for sockets."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest
import pytest_asyncio

from tests.levels import LevelReport
from tests.waiting import eventually_sync

collect_ignore = ["models"]  # Triton's own interpreter runs these

# Every process a test starts inherits it, however many parents it loses.
_RUN_MARK = "INFERNO_TEST_RUN"
# Cancelled tasks and closing processes end by themselves within this time, in seconds; a leak does not.
_TASK_GRACE = 10.0
_PROCESS_GRACE = 10.0


def pytest_configure(config: pytest.Config) -> None:
    """Order and name the levels, mark this run's processes, and find the environment's programs first."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    config.pluginmanager.register(LevelReport(config), "inferno-levels")
    os.environ[_RUN_MARK] = uuid.uuid4().hex
    # Read when grpc is imported. With its fork handlers on, about one child in fifty that is forked from a process with
    # a busy gRPC server aborts before it runs its program.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    # No example is judged by the clock of a shared machine; a build that must repeat draws the same examples each time.
    hypothesis.settings.register_profile("inferno", deadline=None, derandomize="CI" in os.environ)
    hypothesis.settings.load_profile("inferno")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave GPU tests out where there is no GPU."""
    if Path("/dev/nvidia0").exists():
        return
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(pytest.mark.skip(reason="this machine has no NVIDIA GPU"))


@pytest.fixture(scope="session", autouse=True)
def _leaves_no_process() -> Iterator[None]:
    """The run fails when a process that a test started outlives it; each is named, and ended by its id."""
    yield
    try:
        eventually_sync(
            lambda: not _processes_of_this_run(), _PROCESS_GRACE, "every process the tests started has ended"
        )
    except AssertionError:
        left = _processes_of_this_run()
        names = [f"pid {process.pid}: {' '.join(process.cmdline())[:120]}" for process in left]
        for process in left:
            process.kill()
        pytest.fail("processes outlived the tests:\n" + "\n".join(names), pytrace=False)


def _processes_of_this_run() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(_RUN_MARK) == os.environ[_RUN_MARK]
            if marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue  # it ended while we looked, or belongs to somebody else
    return found


@pytest.fixture(autouse=True)
def _leaves_no_task(request: pytest.FixtureRequest) -> None:
    """An asynchronous test fails when a task outlives it. Set up first, so that it looks last."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_task_guard")


@pytest_asyncio.fixture
async def _task_guard() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, pending = await asyncio.wait(left, timeout=_TASK_GRACE)
        names = [repr(task.get_coro()) for task in pending]
        assert not pending, f"tasks outlived the test: {', '.join(names)}"


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """A folder whose path is short: a Unix socket's path may have at most 107 bytes, and tmp_path is often longer."""
    path = Path(tempfile.mkdtemp(prefix="inf-"))
    yield path
    shutil.rmtree(path)
