"""The watched list of nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inferno_proxy.discovery.listing import Named
from inferno_proxy.discovery.node_file import follow_file, parse
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Address
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.latest import Latest
from tests.unit.inferno_runtime.hurry import HurriedClock
from tests.waiting import eventually

FULL = b"""# what stands where
nodes:
  - node_id: a
    grpc: 10.0.0.7:8001
    http: 10.0.0.7:8000
    region: r
    zone: z
    labels: {tier: gold}
    models: [m, n]
    spot: true
    price_per_hour: 2.50
  - {node_id: b, grpc: "[fd00::7]:8001"}
"""


def test_a_node_has_what_the_file_says_of_it() -> None:
    found = parse(FULL, "f.yaml")
    one, two = found.nodes.values()
    assert (one.grpc_address, one.http_address) == (Address("10.0.0.7", 8001), Address("10.0.0.7", 8000))
    assert (one.region, one.zone, one.labels, one.spot) == ("r", "z", {"tier": "gold"}, True)
    assert ([model.name for model in one.models], one.price_micros_per_hour) == (["m", "n"], 2_500_000)
    assert (two.grpc_address, two.http_address) == (Address("fd00::7", 8001), None)
    assert found.places == {"a": "f.yaml:3", "b": "f.yaml:12"}


def test_json_has_the_same_form() -> None:
    found = parse(b' {"nodes": [{"node_id": "a", "grpc": "h:1"}]}', "f.json")
    assert found.nodes["a"].grpc_address == Address("h", 1)
    assert found.places == {"a": "f.json: nodes[0]"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes: [", "f:1: this is not valid YAML: "),
        ("", "f: it holds no key 'nodes' with a list of nodes."),
        ("- a", "f: it holds no key 'nodes' with a list of nodes."),
        ("{}", "f: nodes: the key 'nodes' is missing."),
        ("nods: []", "f:1: unknown key 'nods' (did you mean 'nodes'?)."),
        ("nodes:\n  - node_id: a\n", "f:2: the key 'grpc' is missing."),
        (
            "nodes:\n  - node_id: a\n    grpc: h\n",
            "f:3: grpc: address 'h' is not host:port with a port from 1 to 65535.",
        ),
        ("nodes:\n  - node_id: a\n    grpc: h:1\n    zones: z\n", "f:4: unknown key 'zones' (did you mean 'zone'?)."),
        (
            "nodes:\n  - node_id: a\n    grpc: h:1\n    qqqq: z\n",
            "f:4: unknown key 'qqqq' (valid are node_id, grpc, http",
        ),
        ("nodes:\n  - node_id: a b\n    grpc: h:1\n", "f:2: node_id: string should match pattern"),
        ("nodes:\n  - 7\n", "f:2: 0: input should be a valid dictionary"),
        (
            "nodes:\n  - {node_id: a, grpc: 'h:1'}\n  - {node_id: a, grpc: 'h:2'}\n",
            "f:3: node_id 'a' is named at f:2 already.",
        ),
        ('{"nodes": [}', "f:1: this is not valid JSON: "),
        ('{"nodes": [{"node_id": "a"}]}', "f: nodes[0].grpc: the key 'grpc' is missing."),
        ('{"nodes": ' + "[" * 100_000, "f: this is not JSON: "),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(text.encode(), "f")
    assert caught.value.message.startswith(said)


def test_what_is_no_text_is_said_to_be_none() -> None:
    for content in (b"\xff\xfe", b'{"\xff'):
        with pytest.raises(InvalidInput, match="this is not"):
            parse(content, "f")


@asynccontextmanager
async def following(path: Path, events: EventLog) -> AsyncIterator[Latest[Named | None]]:
    named: Latest[Named | None] = Latest(None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow_file(path, named, events, HurriedClock()))
        yield named
        task.cancel()


async def test_garbage_and_a_file_that_is_gone_change_nothing_and_are_told_once(tmp_path: Path) -> None:
    file, events = tmp_path / "nodes.yaml", EventLog(ManualClock())

    def kinds() -> list[str]:
        return [each.kind for each in events.kept]

    async with following(file, events) as named:
        await eventually(lambda: len(kinds()) == 1, 5, "it is not there")
        file.write_bytes(FULL)
        await eventually(lambda: named.value, 5, "it is read")
        known = named.value
        file.write_text("nodes:\n  - zone: z\n")
        await eventually(lambda: len(kinds()) == 3, 5, "the mistake is named")
        file.unlink()
        await eventually(lambda: len(kinds()) == 4, 5, "it is gone")
        assert named.value is known
        file.write_text("nodes: []\n")
        await eventually(lambda: named.value is not known, 5, "it is read again")
    gone = f"The list of nodes is no good ({file}: it cannot be read (No such file or directory)): "
    assert [each.message for each in events.kept] == [
        f"{gone}it names none yet.",
        f"{file} names 2 nodes.",
        f"The list of nodes is no good ({file}:2: the key 'node_id' is missing): those of before stay.",
        f"{gone}those of before stay.",
        f"{file} names 0 nodes: 0 more, 2 no longer.",
    ]
