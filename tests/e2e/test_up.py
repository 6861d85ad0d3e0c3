"""``inferno up`` as a user meets it: ready, used, interrupted, killed, and started wrongly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.cloud import cloud, shared_memory, wait_until

pytestmark = pytest.mark.e2e
INFERNO = str(Path(sys.executable).with_name("inferno"))
README = Path(__file__).parent.parent.parent / "README.md"


def _alive(processes: list[psutil.Process]) -> list[str]:
    found = []
    for each in processes:
        with contextlib.suppress(psutil.Error):
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{each.pid} {' '.join(each.cmdline())[:120]}")
    return found


def _left(owned: set[str]) -> set[str]:
    return owned & {each.name for each in Path("/dev/shm").iterdir()}


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [INFERNO, *arguments], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )


async def test_the_default_cloud_tells_file_types_and_the_commands_see_it(tmp_path: Path) -> None:
    async with cloud(tmp_path / "data") as running:
        endpoint = running.endpoint
        assert set(running.facts) >= {"endpoint", "proxy", "governator", "nodes"}
        assert len(running.nodes) == 2
        assert all({"id", "address", "pid"} <= set(node) for node in running.nodes)
        told = await asyncio.to_thread(_run, "infer", "filetype", str(README), "--endpoint", endpoint)
        assert told.returncode == 0, told.stderr
        assert "markdown" in told.stdout.lower()
        status = await asyncio.to_thread(_run, "status", "--endpoint", endpoint)
        assert status.returncode == 0, status.stderr
        assert "filetype" in status.stdout
        check = await asyncio.to_thread(_run, "check", "--endpoint", endpoint)
        assert check.returncode in (0, 3), check.stderr
        deadline = asyncio.get_running_loop().time() + 30
        while True:
            cost = await asyncio.to_thread(_run, "cost", "--endpoint", endpoint, "-o", "json")
            if cost.returncode == 0 and '"filetype"' in cost.stdout:
                break
            assert asyncio.get_running_loop().time() < deadline, cost.stdout + cost.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
async def test_nothing_is_left_however_it_ends(tmp_path: Path, how: signal.Signals) -> None:
    async with cloud(tmp_path / "data") as running:
        family = running.descendants()
        assert len(family) >= 9, "processes are missing: the test would prove little"
        owned = shared_memory(family)
        assert owned, "no shared memory is mapped: the test would prove nothing"
        port = int(running.endpoint.rsplit(":", 1)[1])
        assert _listening(port)
        running.process.send_signal(how)
        async with asyncio.timeout(60):
            await running.process.wait()
        await wait_until(lambda: not _alive(family), 12, "every process has ended")
        assert not _listening(port)
        await wait_until(lambda: not _left(owned), 5, "no shared memory file is left")
        sockets = [path for path in (tmp_path / "data").rglob("*") if path.is_socket()]
        if how is not signal.SIGKILL:
            assert running.process.returncode in (0, 130)
            assert not sockets


def _wrong(check: Callable[[], subprocess.CompletedProcess[str]], code: int, pattern: str) -> None:
    done = check()
    assert done.returncode == code, done.stderr
    assert re.search(pattern, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_names_its_holder(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        _wrong(
            lambda: _run("up", "--port", str(port), "--data-dir", str(tmp_path)),
            4,
            rf"127\.0\.0\.1:{port} is used by pid {os.getpid()}",
        )


def test_a_repository_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    _wrong(
        lambda: _run("up", "--port", "0", "--data-dir", str(tmp_path), "--model-repository", "/no/such/place"),
        2,
        "/no/such/place",
    )


def test_a_broken_model_configuration_shows_tritons_reason(tmp_path: Path) -> None:
    broken = tmp_path / "models" / "broken"
    (broken / "1").mkdir(parents=True)
    (broken / "1" / "model.py").write_text("class TritonPythonModel: pass\n")
    (broken / "config.pbtxt").write_text('backend: "python"\nmax_batch_sise: 3\n')
    _wrong(
        lambda: _run(
            "up",
            "--port",
            "0",
            "--nodes",
            "1",
            "--data-dir",
            str(tmp_path / "d"),
            "--model-repository",
            str(tmp_path / "models"),
        ),
        2,
        "max_batch_sise",
    )


def test_an_unknown_configuration_key_names_the_nearest_one_and_its_line(tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text("proxy:\n  prot: 9000\n")
    _wrong(lambda: _run("up", "--config", str(file), "--data-dir", str(tmp_path / "d")), 2, r"inferno\.yaml:2.*'port'")


def test_a_proxy_that_is_not_there_is_said_to_be_unreachable() -> None:
    _wrong(lambda: _run("status", "--endpoint", "127.0.0.1:1"), 4, r"127\.0\.0\.1:1")
