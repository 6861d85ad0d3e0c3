"""The xDS server with a real gRPC client that balances by itself."""

from __future__ import annotations

from pathlib import Path

from inferno_proxy.publishing.snapshot import Dialect
from inferno_runtime.latest import Latest
from tests.integration.inferno_proxy.xds.proxyless import echo_server, echo_snapshot, proxyless
from tests.integration.inferno_proxy.xds.world import ControlPlane, Snapshots


async def test_a_client_follows_its_endpoints_changes_cluster_and_survives_the_control_plane(socket_dir: Path) -> None:
    async with echo_server("one") as one, echo_server("two") as two:
        snapshots: Snapshots = Latest({Dialect.GRPC: echo_snapshot(1, [one])})
        async with (
            ControlPlane(f"unix:{socket_dir}/xds.sock", snapshots) as control,
            proxyless(control.address) as client,
        ):
            await client.more(20, answer="one")
            (known,) = control.clients.clients
            assert (known.client_id, known.dialect) == ("proxyless-1", Dialect.GRPC)
            assert known.user_agent.startswith("gRPC C-core")

            control.publish(echo_snapshot(2, [one, two]), Dialect.GRPC)
            await control.applied(2)
            await client.more(20, answer="two")
            await client.more(20, answer="one")

            control.publish(echo_snapshot(3, [two], target="model/other/grpc"), Dialect.GRPC)
            await control.applied(3)
            await client.more(20, answer="two")

            await control.__aexit__()
            await client.more(50, answer="two")

            async with ControlPlane(control.address, snapshots) as again:
                await again.applied(3, within=10.0)
                again.publish(echo_snapshot(4, [one], target="model/other/grpc"), Dialect.GRPC)
                await again.applied(4)
                await client.more(20, answer="one")
        assert client.failures == []


async def test_a_model_that_appears_later_is_found(socket_dir: Path) -> None:
    async with echo_server("one") as one:
        empty = echo_snapshot(1, [])
        snapshots: Snapshots = Latest({Dialect.GRPC: type(empty)(1)})
        async with (
            ControlPlane(f"unix:{socket_dir}/xds.sock", snapshots) as control,
            proxyless(control.address) as client,
        ):
            await control.applied(1)
            control.publish(echo_snapshot(2, [one]), Dialect.GRPC)
            await client.more(5)
        assert client.failures == []
