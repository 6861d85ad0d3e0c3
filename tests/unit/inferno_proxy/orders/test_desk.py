"""Orders taken, kept, taken back and expired."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inferno_proxy.events import EventLog
from inferno_proxy.orders.desk import Kept, OrderDesk
from inferno_proxy.orders.order import Book, Kind, Order
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Exhausted, InvalidInput, Unavailable

WEIGHT = Order(Kind.NODE_WEIGHT, "n", "operator ada", 0.0, factor=0.5)
LIMIT = Order(Kind.LIMIT, "m", "operator ada", 0.0, patch={"max_concurrency": 2})


class World:
    """A desk whose settings take every order, unless they are ``harmful``."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.events = EventLog(self.clock)
        self.path = folder / "orders.json"
        self.kept = Kept.at(self.path)
        self.tried = 0
        self.harmful = False
        self.noted = 0
        self.desk = OrderDesk(self.kept, self, self.clock, self.events)

    async def order(self, change: Callable[[Book], Book], commit: Callable[[], None]) -> None:
        self.tried += 1
        if self.harmful:
            raise InvalidInput("It crashes Envoy.", reason="ORDER_REFUSED")
        commit()

    def note(self) -> None:
        self.noted += 1

    def said(self) -> list[tuple[str, str]]:
        return [(event.kind, event.message) for event in self.events.kept]


async def test_an_order_steers_is_noted_and_outlives_the_control_plane(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.desk.place(WEIGHT, world.note)
    assert world.kept.steering.value.factors == {"n": 0.5}
    assert (world.noted, world.tried) == (1, 0)
    assert world.said() == [("ORDER_PLACED", "operator ada ordered 0.5 times the weight.")]
    again = World(tmp_path)
    assert (again.desk.of(Kind.NODE_WEIGHT, "n"), again.kept.steering.value.factors) == (WEIGHT, {"n": 0.5})


async def test_the_same_order_again_changes_nothing_and_another_one_takes_its_place(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.desk.place(WEIGHT, world.note)
    assert await world.desk.place(replace(WEIGHT, at=5.0, by="operator eve"), world.note) == WEIGHT
    assert (world.noted, len(world.said())) == (2, 1)
    other = replace(WEIGHT, factor=0.1)
    assert await world.desk.place(other, world.note) == other
    assert list(world.desk.book.value.values()) == [other]


async def test_an_order_that_changes_settings_is_tried_first(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.harmful = True
    with pytest.raises(InvalidInput):
        await world.desk.place(LIMIT, world.note)
    assert (world.tried, world.noted, world.desk.book.value, world.path.exists()) == (1, 0, {}, False)


async def test_what_cannot_be_noted_or_kept_is_not_done(tmp_path: Path) -> None:
    world = World(tmp_path)

    def unwritable() -> None:
        raise Unavailable("No.", reason="AUDIT_UNWRITABLE")

    with pytest.raises(Unavailable):
        await world.desk.place(WEIGHT, unwritable)
    (tmp_path / "orders.partial").mkdir()
    with pytest.raises(Unavailable, match="cannot be kept"):
        await world.desk.place(WEIGHT, world.note)
    assert (world.desk.book.value, world.kept.steering.value.factors, world.said()) == ({}, {}, [])


async def test_orders_are_taken_back_and_what_is_gone_is_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.desk.place(WEIGHT, world.note)
    await world.desk.place(LIMIT, world.note)
    keys = [WEIGHT.key, LIMIT.key, (Kind.SPLIT, "m")]
    assert await world.desk.clear(keys, "operator eve", world.note) == [WEIGHT, LIMIT]
    assert await world.desk.clear(keys, "operator eve", world.note) == []
    assert (World(tmp_path).desk.book.value, world.kept.steering.value.factors, world.tried) == ({}, {}, 2)
    assert world.said()[2] == (
        "ORDER_CLEARED",
        "operator eve took back that operator ada ordered 0.5 times the weight.",
    )


async def test_orders_that_fit_no_longer_are_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.desk.place(LIMIT, world.note)
    world.desk.forget([])
    assert world.desk.of(*LIMIT.key) == LIMIT
    world.desk.forget([LIMIT.key])
    assert World(tmp_path).desk.book.value == {}


async def test_an_order_expires_at_its_moment(tmp_path: Path) -> None:
    world = World(tmp_path)
    now = world.clock.wall()
    await world.desk.place(replace(WEIGHT, expires=now + 10), world.note)
    await world.desk.place(replace(LIMIT, expires=now + 20), world.note)
    await world.desk.place(replace(WEIGHT, subject="o"), world.note)
    task = asyncio.create_task(world.desk.run())
    await world.clock.settle()
    await world.clock.advance(9.5)
    assert len(world.desk.book.value) == 3
    world.clock.jump_wall(1)
    await world.clock.advance(1)
    assert world.desk.of(*WEIGHT.key) is None
    world.harmful = True
    await world.clock.advance(11)
    tried = world.tried
    assert world.desk.of(*LIMIT.key) is not None
    await world.clock.advance(5)
    assert world.tried == tried
    world.harmful = False
    await world.clock.advance(30)
    assert world.desk.of(*LIMIT.key) is None
    task.cancel()
    assert [kind for kind, _ in world.said()[3:]] == ["ORDER_EXPIRED", "ORDER_EXPIRED"]
    assert set(world.desk.book.value) == {(Kind.NODE_WEIGHT, "o")}


async def test_there_are_only_so_many(tmp_path: Path) -> None:
    orders = {(Kind.NODE_WEIGHT, str(n)): replace(WEIGHT, subject=str(n)) for n in range(10_000)}
    world = World(tmp_path)
    world.kept.file.write(orders)
    world = World(tmp_path)
    with pytest.raises(Exhausted, match="10000 orders hold"):
        await world.desk.place(WEIGHT, world.note)
    assert (await world.desk.place(replace(WEIGHT, subject="7", factor=2.0), world.note)).factor == 2.0
