"""A node that listens beyond loopback and has an identity: the agent, its real Triton and TLS in front of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil

from inferno.registration.v1 import node_pb2
from inferno_runtime.identity.authority import PROXY_HOST
from inferno_runtime.identity.folder import IdentityFolder
from tests.integration.inferno_backend.agent import agent
from tests.integration.inferno_backend.members import identified, mesh_authority, ready
from tests.integration.inferno_backend.mesh import Mesh, mesh
from tests.waiting import eventually

FAILED, DRAINING, SERVING = (
    node_pb2.NODE_CONDITION_FAILED,
    node_pb2.NODE_CONDITION_DRAINING,
    node_pb2.NODE_CONDITION_SERVING,
)


async def reached(proxy: Mesh, identity: IdentityFolder) -> None:
    """Wait until the node serves, and a member of the mesh gets through to its model."""
    node = await proxy.registry.until(lambda one: one.condition == SERVING, 20, "it serves")
    assert node.tls
    await eventually(lambda: ready(node.http_address, identity, "whoami"), 5, "it lets the mesh in")


def triton_listens_on(pid: int) -> set[str]:
    listening = (each for each in psutil.Process(pid).net_connections("tcp") if each.status == "LISTEN")
    return {each.laddr.ip.removeprefix("::ffff:") for each in listening}


def sidecar(data_dir: Path) -> int:
    (found,) = (
        each.pid
        for each in psutil.process_iter(["cmdline", "name"])  # of one that has ended, but waits for its parent: None
        if str(data_dir / "sidecar" / "bootstrap.json") in (each.info["cmdline"] or []) and "envoy" in each.info["name"]
    )
    return found


async def test_only_the_mesh_reaches_it_through_every_fault(tmp_path: Path, repository: Callable[..., Path]) -> None:
    by, data_dir = mesh_authority(), tmp_path / "node"
    caller = identified(tmp_path / "proxy", by, "proxy/p", PROXY_HOST)
    port = grpc.ssl_server_credentials(
        [(caller.key.read_bytes(), caller.certificate.read_bytes())], by.trusted, require_client_auth=True
    )
    identified(data_dir / "identity", by, "node/n1")
    named = ("--node-id", "n1", "--host", "0.0.0.0", "--advertise-host", "127.0.0.1")
    async with mesh(tls=port) as proxy:
        flags = (*named, "--discovery-lb", proxy.address, "--model-repository", str(repository("whoami")))
        async with agent(data_dir, *flags) as first:
            facts = await first.ready()
            await reached(proxy, caller)
            assert triton_listens_on(facts["triton_pid"]) == {"127.0.0.1"}
            told, envoy = proxy.registry.node, sidecar(data_dir)

            await first.end(signal.SIGKILL)
            assert await ready(told.http_address, caller, "whoami")
            async with agent(data_dir, *flags) as second:
                await second.ready()
                await reached(proxy, caller)
                assert (proxy.registry.node.grpc_address, sidecar(data_dir)) == (told.grpc_address, envoy)

                os.kill(envoy, signal.SIGKILL)
                await proxy.registry.until(lambda one: one.condition == FAILED, 5, "nobody gets in")
                assert "killed by SIGKILL" in proxy.registry.node.condition_reason
                await reached(proxy, caller)
                assert proxy.registry.node.grpc_address == told.grpc_address

                identified(data_dir / "identity", by, "node/n1", ends_in=-60)
                await proxy.registry.until(lambda one: one.condition == DRAINING, 5, "its certificate has ended")
                assert "node/n1 expired" in proxy.registry.node.condition_reason
                identified(data_dir / "identity", by, "node/n1")
                await reached(proxy, caller)

                assert await second.end() == 0


async def test_a_node_that_lost_its_place_in_the_mesh_leaves_no_door_open(
    tmp_path: Path, repository: Callable[..., Path]
) -> None:
    by, data_dir = mesh_authority(), tmp_path / "node"
    identified(data_dir / "identity", by, "node/other")
    flags = ("--node-id", "n1", "--host", "127.0.0.2", "--model-repository", str(repository("whoami")))
    async with agent(data_dir, *flags) as refused:
        assert await refused.process.wait() == 2
    assert "--node-id other" in refused.said()
