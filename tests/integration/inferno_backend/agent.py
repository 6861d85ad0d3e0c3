"""The agent as its users start it: a process, with what it printed and what it left within reach."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno_runtime.notify import NotifySocket
from tests.waiting import eventually

# Characters of its log that a failure shows.
_LAST_WORDS = 6000
MODELS = Path(__file__).parents[2] / "models"


def shared_memory(prefix: str) -> list[str]:
    """Shared memory files with a prefix."""
    return [file.name for file in Path("/dev/shm").glob(f"{prefix}*")]


class Agent:
    """A running ``inferno-backend``."""

    def __init__(self, process: asyncio.subprocess.Process, data_dir: Path, notified: NotifySocket) -> None:
        self.process = process
        self.data_dir = data_dir
        self._notified = notified

    async def ready(self, within: float = 60) -> dict[str, Any]:
        """Wait until it says that it serves; return the facts it tells its parent."""
        async with asyncio.timeout(within):
            while True:
                pid, fields = await self._notified.receive()
                if pid == self.process.pid and fields.get("READY") == "1":
                    facts: dict[str, Any] = json.loads(fields["X_INFERNO"])
                    return facts

    @property
    def launch(self) -> dict[str, Any]:
        """What it started Triton with."""
        facts: dict[str, Any] = json.loads((self.data_dir / "triton" / "launch.json").read_text())
        return facts

    def triton(self) -> psutil.Process:
        """The running Triton."""
        return psutil.Process(self._status("child"))

    def guard(self) -> psutil.Process:
        """Triton's guard."""
        return psutil.Process(self._status("guard"))

    def _status(self, who: str) -> int:
        return int(json.loads((self.data_dir / "triton" / "status.json").read_text())[who]["pid"])

    def leftovers(self) -> list[str]:
        """Processes and shared memory of this node's Tritons that are still there."""
        prefix = str(self.launch["shm_prefix"])
        found = shared_memory(prefix)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if str(self.data_dir) in line and process.pid != os.getpid() and "pytest" not in line:
                    found.append(line)
        return found

    def said(self) -> str:
        """What it printed so far."""
        return (self.data_dir / "agent.log").read_text()

    async def end(self, how: signal.Signals = signal.SIGTERM, within: float = 60) -> int:
        """Send a signal and wait for the end; return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(how)
        async with asyncio.timeout(within):
            return await self.process.wait()


@asynccontextmanager
async def agent(data_dir: Path, *arguments: str, pass_fds: Sequence[int] = ()) -> AsyncIterator[Agent]:
    """Start an agent, and end it with everything it left."""
    data_dir.mkdir(exist_ok=True)
    async with NotifySocket() as notified:
        with (data_dir / "agent.log").open("a") as log:
            process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).with_name("inferno-backend")),
                *("--data-dir", str(data_dir), "--log-level", "debug", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=tuple(pass_fds),
                env={**os.environ, "NOTIFY_SOCKET": notified.path},
            )
        running = Agent(process, data_dir, notified)
        try:
            yield running
        except AssertionError as error:
            error.add_note(f"The agent said last:\n{running.said()[-_LAST_WORDS:]}")
            raise
        finally:
            await running.end()
            with contextlib.suppress(FileNotFoundError, psutil.Error):
                # A Triton that its agent left behind on purpose.
                running.guard().terminate()
            if (data_dir / "triton" / "launch.json").exists():
                await eventually(lambda: not running.leftovers(), 15, "nothing of the node is left")


async def infer(address: str, hold_ms: float = 0, timeout: float = 10) -> str:
    """Ask model ``whoami``, which answers with its server's process id."""
    request = service_pb2.ModelInferRequest(model_name="whoami")
    tensor = request.inputs.add(name="hold_ms", datatype="FP32", shape=[1])
    tensor.contents.fp32_contents.append(hold_ms)
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = await stub.ModelInfer(request, timeout=timeout)
    text: bytes = answer.raw_output_contents[0][4:]
    return text.decode()


async def control(address: str, model: str, *, load: bool) -> None:
    """Load or unload a model, as its owner does behind the agent's back."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        if load:
            await stub.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name=model), timeout=60)
        else:
            await stub.RepositoryModelUnload(service_pb2.RepositoryModelUnloadRequest(model_name=model), timeout=60)
