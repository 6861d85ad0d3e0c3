"""What data planes run, told to the nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from inferno_proxy.events import EventLog
from inferno_proxy.publishing.snapshot import Dialect, Snapshot
from inferno_proxy.registry.acknowledgement import Acknowledgements, carry_back
from inferno_proxy.registry.lease import Terms
from inferno_proxy.registry.registry import Registry
from inferno_runtime.clock import ManualClock
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.nodes import node


def test_the_newest_applied_snapshot_counts_and_counts_once() -> None:
    acknowledgements = Acknowledgements()
    for serial in (1, 2, 4):
        acknowledgements.published(serial, {"a": (1, serial)})
    assert acknowledgements.applied(0) == {}
    assert acknowledgements.applied(3) == {"a": (1, 2)}
    assert acknowledgements.applied(3) == {}
    assert acknowledgements.applied(9) == {"a": (1, 4)}


def test_of_a_snapshot_only_what_is_new_is_told() -> None:
    acknowledgements, unchanged = Acknowledgements(), (1, 7)
    acknowledgements.published(1, {"a": unchanged, "b": (1, 1), "c": (1, 1)})
    assert acknowledgements.applied(1).keys() == {"a", "b", "c"}
    acknowledgements.published(2, {"a": unchanged, "b": (1, 2)})
    assert acknowledgements.applied(2) == {"b": (1, 2)}


async def test_an_agent_learns_what_every_data_plane_runs() -> None:
    clock = ManualClock()
    registry = Registry(Terms(), clock, EventLog(clock))
    lease = registry.join(node(revision=1))
    empty: Mapping[Dialect, Snapshot] = MappingProxyType({})
    snapshots, applied = Latest(empty), Latest(0)
    async with asyncio.TaskGroup() as group:
        carrying = group.create_task(carry_back(snapshots, applied, registry))
        await clock.settle()
        snapshots.set({Dialect.ENVOY: Snapshot(1, revisions={"a": (1, 1)})})
        await clock.settle()
        assert lease.outlook.value.applied_revision == 0
        applied.set(1)
        assert (await lease.outlook.wait_for(lambda o: o.applied_revision > 0)).applied_revision == 1
        applied.set(2)
        snapshots.set({Dialect.ENVOY: Snapshot(2, revisions={"a": (1, 5)})})
        assert (await lease.outlook.wait_for(lambda o: o.applied_revision > 1)).applied_revision == 5
        carrying.cancel()
