"""Where orders are taken, kept and taken back; what they say takes effect through the steering and the settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inferno_proxy.events import EventLog
from inferno_proxy.orders.file import OrderFile
from inferno_proxy.orders.order import Book, Key, Kind, Order, expired, steering, with_order, without
from inferno_proxy.routing.steering import Steering
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Exhausted, InfernoError
from inferno_runtime.latest import Latest

_LOG = logs.get("orders")
_MOST = 10_000
# How often somebody looks for what expires, and how long one that cannot be taken back is left alone, in seconds.
_TICK = 1.0
_AGAIN = 30.0

Commit = Callable[[], None]
Note = Callable[[], None]


class Tries(Protocol):
    """Puts settings with other orders over them in force."""

    async def order(self, change: Callable[[Book], Book], commit: Commit) -> None:
        """Try the settings with ``change`` of the orders over them, ``commit``, and put them in force.

        Raises:
            InvalidInput: They are no good.
            Unavailable: They could not be tried.
        """
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """The orders of an earlier life, where they are kept, and what follows for the plan."""

    file: OrderFile
    book: Book
    steering: Latest[Steering]

    @classmethod
    def at(cls, path: Path) -> Kept:
        """What was kept at a path."""
        file = OrderFile(path)
        book = file.read()
        return cls(file, book, Latest(steering(book)))


class OrderDesk:
    """Keeps ``book``. What changes settings goes through ``reloader``, which tries it first; all else steers the plan
    at once."""

    def __init__(self, kept: Kept, reloader: Tries, clock: Clock, events: EventLog) -> None:
        self.book: Latest[Book] = Latest(kept.book)
        self._steering = kept.steering
        self._file = kept.file
        self._reloader = reloader
        self._clock = clock
        self._events = events

    def of(self, kind: Kind, subject: str) -> Order | None:
        """The order of a kind about a subject, or None."""
        return self.book.value.get((kind, subject))

    async def place(self, order: Order, note: Note) -> Order:
        """Put an order in force, or leave the one that says the same already; ``note`` is called before it holds.

        Raises:
            InvalidInput: With it, the settings are no good.
            Unavailable: It could not be tried, noted or kept.
            Exhausted: There are as many as there may be.
        """
        before = self.of(*order.key)
        if before is not None and _same(before, order):
            note()
            return before
        if before is None and len(self.book.value) >= _MOST:
            raise Exhausted(
                f"{_MOST} orders hold, the most there may be.",
                reason="TOO_MANY_ORDERS",
                fix="Take some back, or write them into the settings file.",
            )

        def commit() -> None:
            self._keep(lambda book: with_order(book, order), note)

        await self._through(lambda book: with_order(book, order), [order.key], commit)
        self._events.add("ORDER_PLACED", order.subject, f"{order.sentence()}.")
        return order

    async def clear(self, keys: Collection[Key], by: str, note: Note) -> list[Order]:
        """Take orders back; those that hold no more are passed over.

        Raises:
            InvalidInput: Without them, the settings are no good.
            Unavailable: They could not be tried without, or it could not be noted or kept.
        """
        gone = [order for key in keys if (order := self.of(*key)) is not None]

        def commit() -> None:
            self._keep(lambda book: without(book, keys), note)

        await self._through(lambda book: without(book, keys), [order.key for order in gone], commit)
        for order in gone:
            self._events.add("ORDER_CLEARED", order.subject, f"{by} took back that {order.sentence()}.")
        return gone

    def forget(self, keys: Collection[Key]) -> None:
        """Drop orders that hold no more: the settings contradict them.

        Raises:
            Unavailable: What is left could not be kept.
        """
        if keys:
            self._keep(lambda book: without(book, keys), lambda: None)

    async def run(self) -> None:
        """Take back what expires, until cancelled."""
        not_before: dict[Key, float] = {}
        while True:
            await self._clock.sleep(_TICK)
            now = self._clock.monotonic()
            for key in expired(self.book.value, self._clock.wall()):
                if not_before.get(key, now) <= now and not await self._expire(key):
                    not_before[key] = now + _AGAIN

    async def _expire(self, key: Key) -> bool:
        order = self.book.value[key]

        def commit() -> None:
            self._keep(lambda book: without(book, [key]), lambda: None)

        try:
            await self._through(lambda book: without(book, [key]), [key], commit)
        except InfernoError as error:
            _LOG.error("order not taken back", order=order.sentence(), reason=error.sentence())
            return False
        self._events.add("ORDER_EXPIRED", order.subject, f"It no longer holds that {order.sentence()}.")
        return True

    async def _through(self, change: Callable[[Book], Book], keys: Iterable[Key], commit: Commit) -> None:
        if any(kind.patches for kind, _ in keys):
            await self._reloader.order(change, commit)
        else:
            commit()

    def _keep(self, change: Callable[[Book], Book], note: Note) -> None:
        """Note and keep a change, and let it take effect, in one go.

        A caller who goes away in the middle must not leave half of it. Orders are rare, and the file is small.
        """
        book = change(self.book.value)
        note()
        self._file.write(book)
        self.book.set(book)
        self._steering.set(steering(book))


def _same(one: Order, other: Order) -> bool:
    said = [(o.factor, dict(o.patch), o.reason, o.expires) for o in (one, other)]
    return said[0] == said[1]
