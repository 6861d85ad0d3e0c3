"""The last good fleet on disk."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Source
from inferno_proxy.registry.lease import Terms
from inferno_proxy.registry.membership import Record
from inferno_proxy.registry.memory import Memory, Remembered
from inferno_proxy.registry.registry import Registry
from inferno_runtime.clock import ManualClock
from tests.unit.inferno_proxy.nodes import node
from tests.waiting import eventually


def test_a_fleet_comes_back_as_it_was_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "fleet.json")
    kept = (
        Remembered(Record(node("a", 2**63, revision=7), Source.AGENT, 0, drained=True, drain_ends=1.7e9), 3.0),
        Remembered(Record(node("b", port=2), Source.ANNOUNCED, 0), 60.0),
    )
    memory.write(kept)
    assert memory.read() == kept
    assert (tmp_path / "fleet.json").stat().st_mode & 0o777 == 0o600


def test_without_a_file_nothing_is_remembered(tmp_path: Path) -> None:
    assert Memory(tmp_path / "fleet.json").read() == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"format": 99, "nodes": []}',
        b'{"format": 1}',
        b'{"format": 1, "nodes": [{}]}',
        b'{"format": 1, "nodes": [{"node": {"zzz": 1}, "revision": 1, "source": "agent", "drained": 0, "lease": 1}]}',
        b'{"format": 1, "nodes": [{"node": {}, "revision": 1, "source": "agent", "drained": 0, "lease": 1}]}',
        b'{"format": 1, "nodes": [{"node": {}, "revision": 1, "source": "x", "drained": 0, "lease": 1}]}',
    ],
)
def test_a_damaged_file_is_set_aside_and_never_deleted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fleet.json"
    path.write_bytes(content)
    assert Memory(path).read() == ()
    assert not path.exists()
    assert (tmp_path / "fleet.corrupt").read_bytes() == content


def test_what_cannot_be_read_is_set_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    path.mkdir()
    assert Memory(path).read() == ()
    assert (tmp_path / "fleet.corrupt").is_dir()


async def test_the_fleet_is_written_after_it_changed_and_a_full_disk_costs_memory_only(tmp_path: Path) -> None:
    clock = ManualClock()
    registry = Registry(Terms(), clock, EventLog(clock))
    path = tmp_path / "sub" / "fleet.json"
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(Memory(path).keep(registry, clock))
        registry.join(node("a"))
        await clock.settle()
        await clock.advance(1)
        path.parent.mkdir()
        registry.join(node("b", port=2))

        async def written() -> bool:
            await clock.advance(1)
            return path.exists() and len(json.loads(path.read_text())["nodes"]) == 2

        await eventually(written, 5, "both nodes are on disk")
        keeping.cancel()
