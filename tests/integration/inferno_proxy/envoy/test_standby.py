"""How often the standby file is written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from inferno_proxy.envoy.standby import keep_standby
from inferno_proxy.publishing.snapshot import Dialect, Resource, ResourceType, Snapshot
from inferno_runtime.clock import ManualClock
from inferno_runtime.latest import Latest
from tests.waiting import eventually


def _snapshot(serial: int, nodes: int) -> Mapping[Dialect, Snapshot]:
    cluster = Resource.of("c", b"\x0a\x03c-%d" % serial)
    resources = {**{kind: {} for kind in ResourceType}, ResourceType.CLUSTER: {"c": cluster}}
    return {Dialect.ENVOY: Snapshot(serial, resources, {f"n{each}": (1, 1) for each in range(nodes)})}


async def test_the_file_of_a_large_fleet_is_two_seconds_old_at_most(tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "standby.pb"
    snapshots: Latest[Mapping[Dialect, Snapshot]] = Latest({})
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(keep_standby(snapshots, path, clock))
        snapshots.set(_snapshot(1, 10_000))
        await eventually(lambda: path.exists() and b"c-1" in path.read_bytes(), 5, "a first file")
        await eventually(lambda: clock.sleepers == 1, 5, "it rests")
        snapshots.set(_snapshot(2, 10_000))
        await clock.advance(1.9)
        assert b"c-1" in path.read_bytes()
        await clock.advance(0.1)
        await eventually(lambda: b"c-2" in path.read_bytes(), 5, "the next one")
        keeping.cancel()
