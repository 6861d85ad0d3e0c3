"""The last good fleet on disk."""

from __future__ import annotations

import asyncio
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

A = Remembered(Record(node("a", 2**63, revision=7), Source.AGENT, 0, drained=True, drain_ends=1.7e9), 3.0)
B = Remembered(Record(node("b", port=2), Source.ANNOUNCED, 0), 60.0)


def test_a_fleet_comes_back_as_it_was_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "fleet.json")
    memory.write({"a": A, "b": B})
    assert memory.read() == (A, B)
    assert (tmp_path / "fleet.json").stat().st_mode & 0o777 == 0o600


def test_of_what_is_added_the_last_word_on_a_node_counts(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    memory = Memory(path)
    memory.write({"a": A, "b": B})
    whole, inode = path.read_bytes(), path.stat().st_ino
    later = Remembered(Record(node("a", 2**63, revision=8), Source.AGENT, 0), 3.0)
    memory.write({"a": later})
    memory.write({"b": None, "never": None})
    assert path.stat().st_ino == inode
    assert path.read_bytes().startswith(whole)
    assert Memory(path).read() == (later,)
    memory.write({"b": B})
    assert Memory(path).read() == (later, B)


def test_a_last_line_that_was_not_written_to_its_end_never_counted(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    memory = Memory(path)
    memory.write({"a": A})
    whole = path.read_bytes()
    memory.write({"b": B})
    added = path.read_bytes()[len(whole) :]
    for size in range(len(added)):
        path.write_bytes(whole + added[:size])
        assert Memory(path).read() == (A,)


def test_a_file_most_of_which_is_past_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    memory = Memory(path)
    memory.write({"b": B})
    line = len(path.read_bytes())
    for each in range(1100):
        memory.write({"b": B if each % 2 else None})
    assert len(path.read_bytes()) < 200 * line
    assert Memory(path).read() == (B,)


def test_the_file_of_an_earlier_life_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    Memory(path).write({"a": A})
    Memory(path).write({"b": B})
    assert Memory(path).read() == (B,)


def test_after_a_failure_all_of_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    memory = Memory(path)
    memory.write({"a": A})
    path.unlink()
    with pytest.raises(FileNotFoundError):
        memory.write({"b": B})
    memory.write({})
    assert Memory(path).read() == (A, B)


def test_without_a_file_nothing_is_remembered(tmp_path: Path) -> None:
    assert Memory(tmp_path / "fleet.json").read() == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{}\n",
        b'{"format": 99}\n',
        b'{"format": 2}\n{}\n',
        b'{"format": 2}\n[]\n',
        b'{"format": 2}\n{"node": {"zzz": 1}, "revision": 1, "source": "agent", "drained": 0, "lease": 1}\n',
        b'{"format": 2}\n{"node": {}, "revision": 1, "source": "agent", "drained": 0, "lease": 1}\n',
        b'{"format": 2}\n{"node": {}, "revision": 1, "source": "x", "drained": 0, "lease": 1}\n',
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
            return len(Memory(path).read()) == 2

        await eventually(written, 5, "both nodes are on disk")
        keeping.cancel()
