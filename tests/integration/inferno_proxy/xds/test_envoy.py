"""The xDS server with a real Envoy, in both variants of the protocol."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from envoy_data_plane.envoy.config.core.v3 import HealthCheck, HealthCheckHttpHealthCheck

from inferno_proxy.publishing.snapshot import Dialect, Resource, ResourceType
from inferno_proxy.xds.clients import SyncState
from inferno_runtime import process
from inferno_runtime.latest import Latest
from tests.integration.inferno_proxy.xds.world import (
    HEALTH_DELAY,
    HEALTH_PATH,
    ControlPlane,
    Envoy,
    Load,
    Mesh,
    Snapshots,
    cluster,
    upstream,
)
from tests.waiting import eventually


@pytest.fixture(params=["delta", "sotw"])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def one() -> AsyncIterator[int]:
    async with upstream("one") as port:
        yield port


@pytest.fixture
async def two() -> AsyncIterator[int]:
    async with upstream("two") as port:
        yield port


@pytest.fixture
def mesh(one: int) -> Mesh:
    return Mesh(process.free_port(), {"c1": [one]}, "c1")


@pytest.fixture
async def control(socket_dir: Path, mesh: Mesh) -> AsyncIterator[ControlPlane]:
    snapshots: Snapshots = Latest({Dialect.ENVOY: mesh.snapshot(1)})
    async with ControlPlane(f"unix:{socket_dir}/xds.sock", snapshots) as plane:
        yield plane


@pytest.fixture
async def envoy(socket_dir: Path, control: ControlPlane, variant: str) -> AsyncIterator[Envoy]:
    async with Envoy(socket_dir, control.address, variant=variant) as running:
        await running.ready()
        await control.applied(1)
        yield running


async def test_traffic_moves_to_a_new_cluster_without_a_failed_request(
    envoy: Envoy, control: ControlPlane, mesh: Mesh, two: int
) -> None:
    async with Load(mesh.port).running() as load:
        await load.more(50, where="one".__eq__)
        mesh.clusters, mesh.target = {"c2": [two]}, "c2"
        control.publish(mesh.snapshot(2))
        await control.applied(2, within=1.0)
        await load.more(50, where="two".__eq__)
        await eventually(lambda: _is(envoy, {"c2"}), 5.0, "the old cluster is gone")
    assert load.failures == []


async def test_traffic_moves_to_a_new_cluster_only_when_its_first_health_check_has_passed(
    envoy: Envoy, control: ControlPlane, mesh: Mesh, two: int
) -> None:
    # Envoy acknowledges clusters when they are warm, which includes the first round of health checks.
    mesh.cluster_fields = {
        "health_checks": [
            HealthCheck(
                timeout=datetime.timedelta(seconds=1),
                interval=datetime.timedelta(seconds=1),
                unhealthy_threshold=1,
                healthy_threshold=1,
                http_health_check=HealthCheckHttpHealthCheck(path=HEALTH_PATH),
            )
        ]
    }
    async with Load(mesh.port).running() as load:
        await load.more(20)
        mesh.clusters, mesh.target = {"c2": [two]}, "c2"
        started = time.monotonic()
        control.publish(mesh.snapshot(2))
        await control.applied(2)
        assert time.monotonic() - started >= HEALTH_DELAY
        await load.more(20, where="two".__eq__)
    assert load.failures == []


async def test_a_changed_cluster_is_warm_at_once_and_fails_nothing(
    envoy: Envoy, control: ControlPlane, mesh: Mesh
) -> None:
    async with Load(mesh.port).running() as load:
        await load.more(20)
        mesh.cluster_fields = {"connect_timeout": datetime.timedelta(seconds=3)}
        control.publish(mesh.snapshot(2))
        await control.applied(2, within=1.0)
        # Without its endpoints sent again, Envoy would warm it for 15 s.
        await eventually(lambda: _is_warm(envoy), 2.0, "the changed cluster is warm")
        await load.more(20)
    assert load.failures == []


async def test_a_changed_listener_fails_nothing(envoy: Envoy, control: ControlPlane, mesh: Mesh) -> None:
    async with Load(mesh.port).running() as load:
        await load.more(20)
        mesh.stat_prefix = "renamed"
        control.publish(mesh.snapshot(2))
        await control.applied(2, within=1.0)
        await load.more(50)
    assert load.failures == []


async def test_a_control_plane_that_comes_back_unchanged_disturbs_nothing(
    envoy: Envoy, control: ControlPlane, mesh: Mesh, two: int
) -> None:
    async with Load(mesh.port).running() as load:
        await load.more(20)
        await control.__aexit__()
        await load.more(20)
        async with ControlPlane(control.address, control.snapshots) as again:
            await again.applied(1)
            assert again.clients.clients[0].client_id == f"envoy-{envoy.variant}"
            await load.more(20)
            mesh.clusters["c1"] = [two]
            again.publish(mesh.snapshot(2))
            await again.applied(2, within=1.0)
            await load.more(20, where="two".__eq__)
    assert load.failures == []


async def test_what_disappeared_while_the_control_plane_was_away_is_removed(
    envoy: Envoy, control: ControlPlane, mesh: Mesh, two: int
) -> None:
    mesh.clusters["spare"] = [two]
    control.publish(mesh.snapshot(2))
    await control.applied(2)
    await eventually(lambda: _is(envoy, {"c1", "spare"}), 5.0, "the spare cluster is there")
    await control.__aexit__()
    del mesh.clusters["spare"]
    async with ControlPlane(control.address, Latest({Dialect.ENVOY: mesh.snapshot(3)})):
        await eventually(lambda: _is(envoy, {"c1"}), 5.0, "the spare cluster is gone")


async def test_a_refused_cluster_is_shown_with_envoys_reason_and_the_rest_goes_on(
    envoy: Envoy, control: ControlPlane, mesh: Mesh, two: int
) -> None:
    # Valid by its schema; Envoy refuses it all the same.
    bad = cluster("bad", connect_timeout=datetime.timedelta(seconds=-1))
    mesh.extra = [(ResourceType.CLUSTER, bad), (ResourceType.ENDPOINT, Resource.of("bad", b"\x0a\x03bad"))]
    async with Load(mesh.port).running() as load:
        await load.more(20)
        control.publish(mesh.snapshot(2))
        await control.applied(2)
        status = control.clients.clients[0].types[ResourceType.CLUSTER]
        assert status.state is SyncState.NACKED
        assert "Expected positive duration" in status.reason
        assert [e.kind for e in control.events if e.kind == "CLIENT_REFUSED"]
        mesh.clusters["c1"] = [two]
        control.publish(mesh.snapshot(3))
        await control.applied(3)
        await load.more(20, where="two".__eq__)
        mesh.extra = []
        control.publish(mesh.snapshot(4))
        await eventually(lambda: _clusters(control) is SyncState.SYNCED, 5.0, "the bad cluster is taken back")
    assert load.failures == []


async def test_one_bad_cluster_does_not_keep_a_new_one_from_a_delta_envoy(
    socket_dir: Path, control: ControlPlane, mesh: Mesh, two: int
) -> None:
    bad = cluster("bad", connect_timeout=datetime.timedelta(seconds=-1))
    mesh.extra = [(ResourceType.CLUSTER, bad), (ResourceType.ENDPOINT, Resource.of("bad", b"\x0a\x03bad"))]
    mesh.clusters["c2"], mesh.target = [two], "c2"
    control.publish(mesh.snapshot(2))
    async with Envoy(socket_dir, control.address, variant="delta") as running:
        await running.ready()
        async with Load(mesh.port).running() as load:
            await load.more(20, where="two".__eq__)
        assert await running.clusters() == {"c1", "c2"}


async def test_many_endpoint_changes_under_load_fail_nothing(
    envoy: Envoy, control: ControlPlane, mesh: Mesh, one: int, two: int
) -> None:
    async with Load(mesh.port).running() as load:
        for serial, ports in enumerate([[one, two], [two], [one], [one, two]] * 5, start=2):
            mesh.clusters["c1"] = ports
            control.publish(mesh.snapshot(serial))
            await asyncio.sleep(0)
        await control.applied(21)
        await load.more(50)
    assert load.failures == []


def _clusters(control: ControlPlane) -> SyncState:
    return control.clients.clients[0].types[ResourceType.CLUSTER].state


async def _is(envoy: Envoy, names: set[str]) -> bool:
    return await envoy.clusters() == names


async def _is_warm(envoy: Envoy) -> bool:
    return not await envoy.warming()
