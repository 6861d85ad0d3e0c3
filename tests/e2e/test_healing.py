"""The faults of docs/faults.md on a real cloud under load: no request fails, and without healing the fault bites."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from benchmarks.cloud import Cloud, CloudError, cloud, shared_memory, wait_until
from benchmarks.faults import FAULTS, Fault, Measured, envoy_path, mesh_of, proxyless_path
from inferno_runtime.process import free_port
from tests.e2e.conftest import Repository

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
ROWS = {fault.row: fault for fault in FAULTS}


def _named(fault: Fault) -> str:
    return f"row {fault.row} {fault.title}"


def _lost_nothing(measured: Measured) -> None:
    assert measured.report.sent > 100
    assert measured.report.failed == 0, measured.report.failures[:5]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.row != 20], ids=_named)
async def test_no_request_fails(healing_cloud: Cloud, fault: Fault) -> None:
    _lost_nothing(await fault.scenario(healing_cloud, await envoy_path(healing_cloud)))


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.proxyless], ids=_named)
async def test_no_proxyless_request_fails(healing_cloud: Cloud, fault: Fault) -> None:
    measured = await fault.scenario(healing_cloud, await proxyless_path(healing_cloud))
    _lost_nothing(measured)
    assert len(measured.report.servers) >= len(healing_cloud.nodes), "a node got no proxyless request"


async def test_envoy_serves_the_last_good_configuration_without_a_control_plane(healing_cloud: Cloud) -> None:
    measured = await ROWS[20].scenario(healing_cloud, await envoy_path(healing_cloud))
    assert measured.note == "0 failed after Envoy was back"


def _leftovers(pids: set[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


async def test_a_killed_triton_leaves_no_process_and_no_shared_memory(healing_cloud: Cloud) -> None:
    victim = healing_cloud.tritons()[0]
    stubs = {each.pid for each in victim.children(recursive=True)}
    assert stubs, "Triton runs no python stub: the test would prove nothing"
    owned = shared_memory([victim])
    assert owned, "Triton maps no shared memory: the test would prove nothing"
    victim.kill()
    await wait_until(lambda: not _leftovers(stubs), 5, "the stubs of the killed Triton are gone")
    await wait_until(
        lambda: not owned & {each.name for each in Path("/dev/shm").iterdir()}, 5, "its shared memory is gone"
    )
    async with mesh_of(healing_cloud) as view:
        await view.until(lambda nodes: len(nodes) == 3, 30, "every node is listed")


@pytest.mark.parametrize("fault", FAULTS, ids=_named)
async def test_without_what_the_row_relies_on_the_fault_bites(
    tmp_path: Path, repository: Repository, fault: Fault
) -> None:
    scenario = fault.control or fault.scenario
    models = repository("whoami")
    async with cloud(tmp_path / "data", nodes=3, model_repository=models, config=fault.control_config) as running:
        try:
            measured = await scenario(running, await envoy_path(running))
        except TimeoutError:
            return  # It never recovered: that is harm enough.
    assert fault.bites(measured), "the fault came to no harm: the rows above prove nothing"


async def test_without_a_guard_a_killed_triton_leaves_its_stubs(healing_cloud: Cloud, tmp_path: Path) -> None:
    example = healing_cloud.tritons()[0]
    argv, env = _moved(example.cmdline()), example.environ()
    with (tmp_path / "triton.log").open("wb") as log:
        bare = psutil.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        await wait_until(lambda: bool(bare.children(recursive=True)), 60, "the bare Triton runs a stub")
        stubs = {each.pid for each in bare.children(recursive=True)}
        bare.kill()
        bare.wait(10)
        with pytest.raises(CloudError):
            await wait_until(lambda: not _leftovers(stubs), 5, "the stubs end by themselves")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(bare.pid, signal.SIGKILL)
        for left in Path("/dev/shm").glob(f"{_PREFIX}*"):
            left.unlink()


_PREFIX = "bare-triton-"


def _moved(argv: list[str]) -> list[str]:
    """The same Triton on ports and shared memory of its own."""
    moved = []
    for word in argv:
        name, equals, _ = word.partition("=")
        if equals and name.endswith("-port"):
            moved.append(f"{name}={free_port()}")
        elif "shm-region-prefix-name" in word:
            moved.append(f"{word.rpartition('=')[0]}={_PREFIX}")
        else:
            moved.append(word)
    return moved
