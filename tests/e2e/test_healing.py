"""The faults of docs/faults.md on a real cloud under load: no request fails, and without healing the fault bites."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.cloud import Cloud, CloudError, cloud, shared_memory, wait_until
from benchmarks.faults import FAULTS
from benchmarks.faults.fault import NO_HEALING, Fault, Measured
from benchmarks.faults.notices import CUT, LAST_CALL, STORED, Given, taken_back
from benchmarks.faults.view import envoy_path, mesh_of, proxyless_path
from inferno_runtime.process import free_port
from tests.e2e.conftest import Repository

pytestmark = pytest.mark.e2e
# Rows of which more is asserted than that no request fails, each in a test of its own.
_OWN_TEST = {13, 36}
ROWS = {fault.row: fault for fault in FAULTS}


def _named(fault: Fault) -> str:
    return f"row {fault.row} {fault.title}"


def _lost_nothing(measured: Measured) -> None:
    assert measured.report.sent > 100
    assert measured.report.failed == 0, measured.report.failures[:5]


@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if "envoy" in fault.tested and fault.lossless and fault.row not in _OWN_TEST],
    ids=_named,
)
async def test_no_request_fails(healing_cloud: Cloud, fault: Fault) -> None:
    _lost_nothing(await fault.scenario(healing_cloud, await envoy_path(healing_cloud)))


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if "proxyless" in fault.tested], ids=_named)
async def test_no_proxyless_request_fails(healing_cloud: Cloud, fault: Fault) -> None:
    measured = await fault.scenario(healing_cloud, await proxyless_path(healing_cloud))
    _lost_nothing(measured)
    assert len(measured.report.servers) >= len(healing_cloud.nodes), "a node got no proxyless request"


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.tested and not fault.lossless], ids=_named)
async def test_no_request_fails_once_envoy_is_back(healing_cloud: Cloud, fault: Fault) -> None:
    measured = await fault.scenario(healing_cloud, await envoy_path(healing_cloud))
    assert measured.note == "0 failed after Envoy was back"


async def test_agents_that_return_take_over_the_model_servers_that_lived(healing_cloud: Cloud) -> None:
    measured = await ROWS[13].scenario(healing_cloud, await envoy_path(healing_cloud))
    _lost_nothing(measured)
    assert measured.note.startswith("3 of 3 model servers adopted"), measured.note


async def test_work_stops_on_the_node_when_its_caller_gives_up(healing_cloud: Cloud) -> None:
    measured = await ROWS[36].scenario(healing_cloud, await envoy_path(healing_cloud))
    _lost_nothing(measured)
    assert measured.recovered is not None
    # The calls would have held the node for 4.6 s more.
    assert measured.recovered < 3


async def test_a_machine_that_is_taken_back_finishes_its_streams_and_the_governator_knows(
    healing_cloud: Cloud,
) -> None:
    # The system is shut down with the notice, as on Compute Engine, and the streams take as long as it has left.
    given = Given("aws", 17, shut_down_at_once=True, pause_ms=30)
    measured = await taken_back(healing_cloud, await envoy_path(healing_cloud), given)
    _lost_nothing(measured)
    assert measured.figures[CUT] == 0
    assert measured.detected is not None
    # Promised are 2 s, on a machine that has time.
    assert max(measured.detected, measured.figures[STORED], measured.figures[LAST_CALL]) < 15


async def test_a_killed_triton_leaves_no_process_and_no_shared_memory(healing_cloud: Cloud) -> None:
    victim = healing_cloud.tritons()[0]
    stubs = {each.pid for each in victim.children(recursive=True)}
    assert stubs, "Triton runs no python stub: the test would prove nothing"
    owned = shared_memory([victim])
    assert owned, "Triton maps no shared memory: the test would prove nothing"
    async with _busy(victim.cmdline()):
        victim.kill()
        await wait_until(lambda: not _leftovers(stubs), 60, "the stubs of the killed Triton are gone")
        await wait_until(lambda: not _files(owned), 60, "its shared memory is gone")
    async with mesh_of(healing_cloud) as view:
        await view.until(lambda nodes: len(nodes) == 3, 30, "every node is listed")


async def _bites(fault: Fault, running: Cloud, times: int = 1) -> bool:
    """Whether the fault does harm when it is played so many times: some harm only the calls of a short moment."""
    for _ in range(times):
        try:
            measured = await (fault.control or fault.scenario)(running, await envoy_path(running))
        except TimeoutError:
            return True  # It never recovered: that is harm enough.
        if fault.bites(measured):
            return True
    return False


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.tested and not fault.spoils], ids=_named)
async def test_without_what_the_row_relies_on_the_fault_bites(unhealing_cloud: Cloud, fault: Fault) -> None:
    assert fault.control_config == NO_HEALING
    assert await _bites(fault, unhealing_cloud, times=3), "the fault came to no harm: the rows above prove nothing"


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.tested and fault.spoils], ids=_named)
async def test_the_fault_bites_for_good_without_what_the_row_relies_on(
    tmp_path: Path, repository: Repository, fault: Fault
) -> None:
    models = repository("whoami")
    async with cloud(tmp_path / "data", nodes=3, model_repository=models, config=fault.control_config) as running:
        assert await _bites(fault, running), "the fault came to no harm: the rows above prove nothing"


async def test_without_a_guard_a_killed_triton_leaves_both(healing_cloud: Cloud, tmp_path: Path) -> None:
    example = healing_cloud.tritons()[0]
    argv, env = _moved(example.cmdline()), example.environ()
    with (tmp_path / "triton.log").open("wb") as log:
        bare = psutil.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    owned: set[str] = set()
    try:
        await wait_until(lambda: _page(argv, "http-port", "v2/models/whoami/ready") is not None, 60, "it serves")
        stubs = {each.pid for each in bare.children(recursive=True)}
        owned = shared_memory([bare])
        async with _busy(argv):
            # Nobody waits for it, as when its parent hangs: to its stubs it then still exists.
            bare.kill()
            with pytest.raises(CloudError):
                await wait_until(lambda: not _leftovers(stubs) and not _files(owned), 5, "all goes by itself")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(bare.pid, signal.SIGKILL)
        bare.wait(10)
        for left in _files(owned):
            Path("/dev/shm", left).unlink()


def _leftovers(pids: set[int]) -> list[int]:
    return [pid for pid in pids if _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _files(owned: set[str]) -> set[str]:
    return owned & {each.name for each in Path("/dev/shm").iterdir()}


def _moved(argv: list[str]) -> list[str]:
    """The same Triton on ports and shared memory of its own."""
    moved = []
    for word in argv:
        name, equals, _ = word.partition("=")
        if equals and name.endswith("-port"):
            moved.append(f"{name}={free_port()}")
        elif "shm-region-prefix-name" in word:
            moved.append(f"{word.rpartition('=')[0]}=bare-triton-")
        else:
            moved.append(word)
    return moved


def _port(argv: list[str], which: str) -> str:
    return next(word.partition("=")[2] for word in argv if word.startswith(f"--{which}="))


def _page(argv: list[str], which: str, path: str) -> str | None:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{_port(argv, which)}/{path}") as page:
        return str(page.read().decode())
    return None


@asynccontextmanager
async def _busy(argv: list[str]) -> AsyncIterator[None]:
    """Keep the stub of this Triton at work, so that it does not look after its Triton itself."""
    request = service_pb2.ModelInferRequest(model_name="whoami")
    request.inputs.add(name="hold_ms", datatype="FP32", shape=[1]).contents.fp32_contents.append(60_000)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{_port(argv, 'grpc-port')}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        calls = [stub.ModelInfer(request, timeout=60) for _ in range(2)]
        waits = 'nv_inference_pending_request_count{model="whoami",version="1"} 1'
        # The second call waits as soon as the first one runs.
        await wait_until(lambda: waits in (_page(argv, "metrics-port", "metrics") or ""), 60, "a call runs")
        yield
        for call in calls:
            call.cancel()
