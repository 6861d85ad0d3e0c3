"""A whole Inferno on loopback, started as a user starts it (``inferno up -o json``), with its processes in reach.

Used by the end-to-end tests and by the fault table. Every process it starts ends with the context manager; what is
killed, stopped or continued is named by pid and belongs to this cloud.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.load import Report

_START_SECONDS = 120
_STOP_SECONDS = 20
_SHARED = "/dev/shm/"  # noqa: S108 - looked for in the kernel's list of mappings, never opened


class CloudError(Exception):
    """The cloud did not do what the scenario needs; carries the end of its output."""


@dataclass(frozen=True, slots=True)
class Triton:
    """A running model server of a node: its pid and its gRPC port's address."""

    node_id: str
    pid: int


class Cloud:
    """A running ``inferno up``. ``facts`` is the JSON object it printed when it was ready."""

    def __init__(self, process: asyncio.subprocess.Process, data_dir: Path, facts: Mapping[str, Any]) -> None:
        self.process = process
        self.data_dir = data_dir
        self.facts = facts
        self._family: set[psutil.Process] = set()

    @property
    def endpoint(self) -> str:
        """The one public address, ``host:port``."""
        return str(self.facts["endpoint"])

    @property
    def nodes(self) -> Sequence[Mapping[str, Any]]:
        """The nodes as they were at start."""
        return list(self.facts["nodes"])

    def descendants(self) -> list[psutil.Process]:
        """Every process of this cloud, living or not yet reaped; also those that outlived a parent seen here before."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._family.update(psutil.Process(self.process.pid).children(recursive=True))
        self._family = {each for each in self._family if each.is_running()}
        return list(self._family)

    def find(self, *words: str) -> list[psutil.Process]:
        """The cloud's processes whose command line holds every word, oldest first."""
        found = []
        for each in self.descendants():
            with contextlib.suppress(psutil.Error):
                line = " ".join(each.cmdline())
                if all(word in line for word in words) and each.status() != psutil.STATUS_ZOMBIE:
                    found.append(each)
        return sorted(found, key=lambda each: each.create_time())

    def proxy(self) -> psutil.Process:
        """The proxy's supervisor."""
        children = psutil.Process(self.process.pid).children()
        return self._one([each for each in children if any("proxy" in word for word in _command(each)[:3])], "proxy")

    def envoys(self) -> list[psutil.Process]:
        """The Envoys that share the public port, oldest first."""
        return [each for each in self.find("envoy") if _program(each).startswith("envoy")]

    def envoy(self) -> psutil.Process:
        """The Envoy that serves the public port; the youngest of several."""
        return self._one(self.envoys(), "Envoy")

    def control_plane(self) -> psutil.Process:
        """The control plane."""
        return self._one(self.find("inferno_proxy.control_plane"), "control plane")

    def agents(self) -> list[psutil.Process]:
        """The agents, in the order of their node ids."""
        found = [
            each
            for each in psutil.Process(self.process.pid).children()
            if any("backend" in word for word in _command(each)[:4])
        ]
        return sorted(found, key=_command)

    def tritons(self) -> list[psutil.Process]:
        """The model servers."""
        return [each for each in self.find("tritonserver") if _program(each) == "tritonserver"]

    def triton_at(self, address: str) -> psutil.Process:
        """The model server at a gRPC address."""
        port = f"--grpc-port={address.rpartition(':')[2]}"
        return self._one([each for each in self.tritons() if port in each.cmdline()], f"model server at {address}")

    @staticmethod
    def _one(found: list[psutil.Process], what: str) -> psutil.Process:
        if not found:
            raise CloudError(f"no {what} is running")
        return found[-1]


def shared_memory(processes: Iterable[psutil.Process]) -> set[str]:
    """Names of the files under /dev/shm that any of these processes has mapped."""
    names = set()
    for each in processes:
        with contextlib.suppress(OSError):
            maps = Path(f"/proc/{each.pid}/maps").read_text()
            names |= {line.rpartition(_SHARED)[2].split()[0] for line in maps.splitlines() if _SHARED in line}
    return names


def _command(process: psutil.Process) -> list[str]:
    """The command line; empty when the process has ended."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def _program(process: psutil.Process) -> str:
    return Path(command[0]).name if (command := _command(process)) else ""


@asynccontextmanager
async def cloud(
    data_dir: Path,
    *,
    nodes: int = 2,
    model_repository: Path | None = None,
    port: int = 0,
    config: str = "",
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Cloud]:
    """Start ``inferno up`` and stop it again, whatever happens in between.

    Raises:
        CloudError: It did not start or stop in time; the message holds the end of its standard error.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    argv = [str(Path(sys.executable).with_name("inferno")), "up", "-o", "json"]
    argv += ["--port", str(port), "--nodes", str(nodes), "--data-dir", str(data_dir)]
    if model_repository is not None:
        argv += ["--model-repository", str(model_repository)]
    if config:
        file = data_dir / "inferno.yaml"
        file.write_text(config)
        argv += ["--config", str(file)]
    errors = (data_dir / "up.stderr").open("wb")
    process = await asyncio.create_subprocess_exec(
        *argv,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **(env or {})},
    )
    running: Cloud | None = None
    family: set[psutil.Process] = set()
    try:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise CloudError(f"inferno up did not get ready:\n{_tail(data_dir / 'up.stderr')}")
        running = Cloud(process, data_dir, json.loads(line))
        yield running
    finally:
        if running is not None:
            family.update(running.descendants())
        with contextlib.suppress(psutil.NoSuchProcess):
            family.update(psutil.Process(process.pid).children(recursive=True))
        if process.returncode is None:
            for each in family:
                # A process left stopped by a scenario cannot hear the order to end.
                with contextlib.suppress(psutil.Error):
                    each.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        errors.close()
        for each in family:
            with contextlib.suppress(psutil.Error):
                each.kill()


def _tail(file: Path, lines: int = 40) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])


class RunningLoad:
    """A load process (see :mod:`benchmarks.load`) that has warmed up."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def finish(self) -> Report:
        """Stop sending, wait for what is in flight, and return what it saw."""
        if self._process.returncode is None:
            self._process.terminate()
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            output = await self._process.stdout.read()
            await self._process.wait()
        return Report(**json.loads(output.decode().splitlines()[-1]))


@asynccontextmanager
async def load(
    target: str,
    *,
    model: str = "whoami",
    rate: float = 100,
    hold_ms: float = 0,
    timeout: float = 5,
    env: Mapping[str, str] | None = None,
    warm: bool = True,
    extra: Sequence[str] = (),
) -> AsyncIterator[RunningLoad]:
    """Start a load and wait until its requests succeed; it ends by itself after two minutes at most.

    ``extra`` are further options of :mod:`benchmarks.load`.
    """
    argv = [sys.executable, "-m", "benchmarks.load", "--target", target, "--model", model, "--rate", str(rate)]
    argv += ["--seconds", "120", "--hold-ms", str(hold_ms), "--timeout", str(timeout)]
    argv += extra
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **(env or {})},
    )
    try:
        assert process.stdout is not None
        if warm:
            async with asyncio.timeout(30):
                while (line := await process.stdout.readline()) != b"warm\n":
                    if not line:
                        raise CloudError("the load ended before its requests succeeded")
        yield RunningLoad(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def wait_until(check: Callable[[], bool], within: float, what: str) -> float:
    """Poll ``check`` every 10 ms and return the seconds it took to become true.

    Raises:
        CloudError: It stayed false for ``within`` seconds.
    """
    start = time.monotonic()
    while not check():
        if time.monotonic() - start > within:
            raise CloudError(f"not within {within:g} s: {what}")
        await asyncio.sleep(0.01)
    return time.monotonic() - start
