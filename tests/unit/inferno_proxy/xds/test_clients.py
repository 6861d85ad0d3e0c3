from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from inferno_proxy.publishing.snapshot import Dialect
from inferno_proxy.xds.clients import Client, ClientEvent, ClientTable, SyncState, TypeStatus, judge
from inferno_runtime.clock import ManualClock

CDS, EDS = "type.googleapis.com/x.Cluster", "type.googleapis.com/x.Endpoint"


def client(stream: int, *, applied: int = 0, behind: float | None = None, left: float | None = None) -> Client:
    return Client(
        stream, f"c{stream}", Dialect.ENVOY, "envoy", 0.0, {}, applied=applied, behind_since=behind, left_at=left
    )


@pytest.mark.parametrize(
    ("clients", "applied", "hanging", "forgotten", "look_again"),
    [
        ([], 7, set(), set(), None),
        ([client(1, applied=7)], 7, set(), set(), None),
        ([client(1, applied=5, behind=9.0), client(2, applied=7)], 5, set(), set(), 11.0),
        ([client(1, applied=5, behind=9.0), client(2, applied=3, behind=9.5)], 3, set(), set(), 11.0),
        ([client(1, applied=5, behind=8.0), client(2, applied=6, behind=9.0)], 6, {1}, set(), 11.0),
        ([client(1, applied=5, left=9.0)], 5, set(), set(), 11.0),
        ([client(1, applied=5, left=8.0)], 7, set(), {1}, None),
    ],
)
def test_what_all_clients_have_answered(
    clients: list[Client], applied: int, hanging: set[int], forgotten: set[int], look_again: float | None
) -> None:
    verdict = judge(clients, 7, 10.0, 2.0)
    assert (verdict.applied, verdict.hanging, verdict.forgotten, verdict.look_again) == (
        applied,
        frozenset(hanging),
        frozenset(forgotten),
        look_again,
    )


@contextlib.asynccontextmanager
async def running(clock: ManualClock, events: list[ClientEvent]) -> AsyncIterator[ClientTable]:
    table = ClientTable(clock, report=events.append)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(table.run())
        await clock.settle()
        yield table
        task.cancel()


def status(state: SyncState, reason: str = "", version: str = "v") -> TypeStatus:
    return TypeStatus(state, version, reason)


async def test_a_snapshot_is_applied_once_every_client_has_answered_it() -> None:
    clock, events = ManualClock(), list[ClientEvent]()
    async with running(clock, events) as table:
        one, two = table.connected("a", Dialect.ENVOY, "envoy"), table.connected("b", Dialect.GRPC, "gRPC")
        table.published(4)
        table.update(one, {CDS: status(SyncState.SYNCED)}, 4)
        await clock.settle()
        assert table.applied.value == 0
        table.update(two, {CDS: status(SyncState.NACKED, "bad")}, 4)
        await clock.settle()
        assert table.applied.value == 4


async def test_a_client_that_hangs_is_left_out_and_comes_back_when_it_answers() -> None:
    clock, events = ManualClock(), list[ClientEvent]()
    async with running(clock, events) as table:
        stream = table.connected("slow", Dialect.ENVOY, "envoy")
        table.published(1)
        table.update(stream, {CDS: status(SyncState.SYNCED)}, 1)
        await clock.settle()
        table.published(2)
        await clock.advance(1.9)
        assert table.applied.value == 1
        await clock.advance(0.2)
        assert table.applied.value == 2
        assert [e.kind for e in events] == ["CLIENT_CONNECTED", "CLIENT_HANGS"]
        table.published(2)
        await clock.advance(5.0)
        assert [e.kind for e in events].count("CLIENT_HANGS") == 1
        table.update(stream, {CDS: status(SyncState.SYNCED)}, 2)
        await clock.settle()
        assert events[-1].kind == "CLIENT_CAUGHT_UP"
        assert not table.clients[0].left_out
        table.published(3)
        await clock.settle()
        assert table.applied.value == 2


async def test_a_client_that_makes_progress_is_not_left_out() -> None:
    clock, events = ManualClock(), list[ClientEvent]()
    async with running(clock, events) as table:
        stream = table.connected("busy", Dialect.ENVOY, "envoy")
        table.published(1)
        for serial in range(1, 8):
            table.published(serial + 1)
            await clock.advance(1.5)
            table.update(stream, {}, serial)
            await clock.settle()
            assert table.applied.value == serial
    assert [e.kind for e in events] == ["CLIENT_CONNECTED"]


async def test_a_client_that_lost_its_stream_counts_until_it_is_back_or_long_gone() -> None:
    clock, events = ManualClock(), list[ClientEvent]()
    async with running(clock, events) as table:
        table.published(1)
        stream = table.connected("a", Dialect.ENVOY, "envoy")
        table.update(stream, {}, 1)
        await clock.settle()
        table.disconnected(stream)
        table.disconnected(stream)
        table.published(2)
        await clock.advance(1.0)
        assert (table.applied.value, table.clients) == (1, ())
        again = table.connected("a", Dialect.ENVOY, "envoy")
        table.update(again, {}, 2)
        await clock.settle()
        assert table.applied.value == 2
        table.disconnected(again)
        table.published(3)
        await clock.advance(2.1)
        assert table.applied.value == 3
    assert [e.kind for e in events].count("CLIENT_DISCONNECTED") == 2


async def test_a_client_with_a_newer_stream_is_not_waited_for_on_the_old_one() -> None:
    clock = ManualClock()
    async with running(clock, []) as table:
        old, new = table.connected("a", Dialect.ENVOY, "envoy"), table.connected("a", Dialect.ENVOY, "envoy")
        table.disconnected(old)
        table.published(1)
        table.update(new, {}, 1)
        await clock.settle()
        assert table.applied.value == 1


async def test_nothing_is_applied_until_clients_of_an_earlier_life_had_time_to_return() -> None:
    clock = ManualClock()
    async with running(clock, []) as table:
        table.published(9)
        await clock.advance(1.9)
        assert table.applied.value == 0
        await clock.advance(0.2)
        assert table.applied.value == 9


async def test_a_newcomer_takes_nothing_back() -> None:
    clock = ManualClock()
    async with running(clock, []) as table:
        table.published(3)
        table.update(table.connected("a", Dialect.ENVOY, "envoy"), {}, 3)
        await clock.settle()
        table.connected("b", Dialect.ENVOY, "envoy")
        await clock.settle()
        assert table.applied.value == 3


async def test_a_status_keeps_its_time_until_it_changes() -> None:
    clock, events = ManualClock(wall=100.0), list[ClientEvent]()
    table = ClientTable(clock, report=events.append)
    stream = table.connected("a", Dialect.ENVOY, "envoy")
    table.update(stream, {CDS: status(SyncState.SYNCED), EDS: status(SyncState.PENDING)}, 0)
    clock.jump_wall(5.0)
    table.update(stream, {CDS: status(SyncState.SYNCED), EDS: status(SyncState.NACKED, "bad address")}, 0)
    table.update(stream, {CDS: status(SyncState.SYNCED), EDS: status(SyncState.NACKED, "bad address")}, 0)
    (seen,) = table.clients
    assert (seen.types[CDS].since, seen.types[EDS].since) == (100.0, 105.0)
    assert (seen.types[EDS].reason, seen.connected) == ("bad address", 100.0)
    assert [e.message for e in events if e.kind == "CLIENT_REFUSED"] == ["It refused Endpoint: bad address"]


def test_clients_are_listed_by_name() -> None:
    table = ClientTable(ManualClock())
    for name in ("b", "a"):
        table.connected(name, Dialect.GRPC, "gRPC")
    assert [c.client_id for c in table.clients] == ["a", "b"]
