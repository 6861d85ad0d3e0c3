"""A node of another machine, from its token to its last call: joined, behind TLS, reached by proxy and client."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc
import pytest

from benchmarks.faults.view import Mesh
from inferno_runtime.process import free_port
from tests.e2e.conftest import Repository
from tests.integration.inferno_backend.agent import agent, infer
from tests.integration.inferno_proxy.proxies import proxy

pytestmark = pytest.mark.e2e


async def test_a_node_joins_with_a_token_and_serves_behind_tls_only(
    socket_dir: Path, tmp_path: Path, repository: Repository
) -> None:
    port = free_port()
    async with proxy(socket_dir, "--mesh-port", str(port)) as running:
        token = tmp_path / "token"
        await inferno("token", "create", "--name", "gpu-*", "--endpoint", running.endpoint, "--out", str(token))
        flags = ["--node-id", "gpu-7", "--host", "0.0.0.0", "--advertise-host", "127.0.0.1"]
        flags += ["--discovery-lb", f"127.0.0.1:{port}", "--join-token-file", str(token)]
        async with agent(tmp_path / "node", *flags, "--model-repository", str(repository("whoami"))) as node:
            facts = await node.ready()
            assert await infer(running.endpoint) == str(facts["triton_pid"])
            told = (await Mesh(running.channel).nodes())["gpu-7"].node
            assert told.tls
            with pytest.raises(grpc.aio.AioRpcError):
                await infer(told.grpc_address, timeout=2)
            assert await node.end() == 0


async def inferno(*arguments: str) -> None:
    """Run a command that must succeed."""
    process = await asyncio.create_subprocess_exec(str(Path(sys.executable).with_name("inferno")), *arguments)
    assert await process.wait() == 0
