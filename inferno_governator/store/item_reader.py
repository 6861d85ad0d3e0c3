"""Read what is billed: whole days from day rows, whole hours from hour rows, and minutes at the edges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence, Set
from functools import partial

from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis.commitments import CommitmentMeter
from inferno_governator.analysis.cost import cut
from inferno_governator.analysis.items import Item
from inferno_governator.store import books, commitments, items, usage_reader
from inferno_governator.store.items import APART, DAY, EVERY, HOUR, Chosen, Subjects
from inferno_governator.store.requests import stretches
from inferno_governator.store.schema import Node, table

_NODE = table(Node)
# Named in one statement, below both databases' bound of 32,766 parameters.
_NODES = 10_000
Chunks = AsyncIterator[list[Item]]


def runs(first: int, last: int, length: int, opened: Mapping[int, Set[int]]) -> Iterator[tuple[int, int, Set[int]]]:
    """``(start, end, nodes)`` that cover a stretch: each open part by itself, those between joined and without nodes.

    >>> [*runs(0, 300, 60, {120: {7}})]
    [(0, 120, set()), (120, 180, {7}), (180, 300, set())]
    """
    for minute in sorted(opened):
        if first <= minute < last:
            if first < minute:
                yield first, minute, set()
            yield minute, minute + length, opened[minute]
            first = minute + length
    if first < last:
        yield first, last, set()


class ItemReader:
    """Reads items in one transaction; what is open is made from what is finer.

    ``together``: nobody asks when it was, so days, and hours, that follow one another are added up. ``apart``: what
    items need to be told apart by; what is settled is added up over the rest, which is then empty.
    """

    def __init__(
        self, connection: AsyncConnection, subjects: Subjects, *, together: bool = False, apart: Set[str] = APART
    ) -> None:
        self._connection = connection
        self._subjects = subjects
        self._together = together
        # Uses of one node are too few for their sum to be worth it.
        apart = APART if "node" in apart else apart
        whole = partial(items.read_together, timeless=together, apart=apart)
        self._whole = whole if together or apart < APART else items.read
        # By length and first minute: the numbers of nodes of which the stretch is open, and how many of its minutes are
        # settled all the same.
        self._open: dict[int, dict[int, dict[int, int]]] = {}

    async def read(self, start: int, end: int) -> Chunks:
        """Items from one minute until before another, in chunks that bound memory, about in order of time; last what
        is unused of commitments."""
        if start >= end:
            return
        meter = CommitmentMeter(await commitments.read(self._connection), start, end, together=self._together)
        async for chunk in self._used(start, end):
            meter.count(chunk)
            yield chunk
        if unused := meter.unused():
            yield unused

    async def _used(self, start: int, end: int) -> Chunks:
        await self._subjects.learn(self._connection)
        for length in (HOUR, DAY):
            self._open[length] = await self._opened(length, start - start % length, end)
        minutes_from, hours_from = [await books.sealed(self._connection, length) for length in (1, HOUR)]
        for length, first, last in stretches(start, end):
            if length == DAY:
                parts = [self._days(first, last)]
            else:
                # Where the finer level is gone the coarser one is all there is.
                finest = minutes_from if length == 1 else 0
                by_day = (first, min(last, hours_from))
                by_hour = (max(first, hours_from), min(last, finest))
                rest = (max(first, hours_from, finest), last)
                parts = [self._cut(DAY, *by_day), self._cut(HOUR, *by_hour)]
                parts.append(self._edge(*rest) if length == 1 else self._hours(*rest))
            for part in parts:
                async for chunk in part:
                    yield chunk

    async def _days(self, first: int, last: int) -> Chunks:
        for start, end, opened in runs(first, last, DAY, _nodes(self._open[DAY])):
            async for chunk in self._whole(self._connection, self._subjects, DAY, start, end, Chosen(but=opened)):
                yield chunk
            if opened:
                async for chunk in self._hours(start, end, Chosen(opened)):
                    yield chunk

    async def _hours(self, first: int, last: int, wanted: Chosen = EVERY) -> Chunks:
        for start, end, opened in runs(first, last, HOUR, _nodes(self._open[HOUR])):
            async for chunk in self._whole(self._connection, self._subjects, HOUR, start, end, wanted.without(opened)):
                yield chunk
            asked = {node for node in opened if node in wanted}
            async for chunk in self._unsettled(start, end, asked):
                yield chunk

    async def _edge(self, first: int, last: int) -> Chunks:
        """A part of an hour, or of two, whose minutes are there; what is settled of it need not be made from them."""
        while first < last:
            hour = first - first % HOUR
            end = min(last, hour + HOUR)
            opened = self._open[HOUR].get(hour, {}) if first == hour else {}
            inside = {node for node, settled in opened.items() if 0 < settled <= end - hour}
            async for chunk in self._unsettled(hour, end, inside):
                yield chunk
            others = None
            if inside:
                others = [node for node in await self._every_node() if node not in inside]
            async for chunk in self._minutes(first, end, others):
                yield chunk
            first = end

    async def _unsettled(self, hour: int, end: int, nodes: Set[int]) -> Chunks:
        """An hour, until a minute, of nodes of which it is open: items of what is settled, minutes of the rest."""
        alike: dict[int, set[int]] = {}
        for node in nodes:
            alike.setdefault(self._open[HOUR][hour][node], set()).add(node)
        for settled, some in sorted(alike.items()):
            if settled:
                found = items.read(self._connection, self._subjects, HOUR, hour, hour + 1, Chosen(some))
                async for chunk in found:
                    yield [item._replace(minutes=settled) for item in chunk]
            async for chunk in self._minutes(hour + settled, end, sorted(some)):
                yield chunk

    async def _minutes(self, first: int, last: int, nodes: Sequence[int] | None) -> Chunks:
        if first >= last:
            return
        many = [None] if nodes is None else [nodes[at : at + _NODES] for at in range(0, len(nodes), _NODES)]
        for some in many:
            history = await usage_reader.node_facts(self._connection, last, some)
            async for chunk in usage_reader.usage(self._connection, first, last, some):
                yield chunk.items(history)

    async def _every_node(self) -> list[int]:
        return [*(await self._connection.execute(select(_NODE.c.id))).scalars()]

    async def _cut(self, length: int, first: int, last: int) -> Chunks:
        """The part of what a coarser level has."""
        if first >= last:
            return
        async for chunk in items.read(self._connection, self._subjects, length, first - first % length, last):
            yield [part for item in chunk if (part := cut(item, first, last)) is not None]

    async def _opened(self, length: int, start: int, end: int) -> dict[int, dict[int, int]]:
        opened = books.OPEN[length]
        settled = opened.c.settled if length == HOUR else literal(0)
        found = await self._connection.execute(
            select(opened.c.minute, opened.c.node, settled).where(opened.c.minute >= start, opened.c.minute < end)
        )
        marks: dict[int, dict[int, int]] = {}
        for minute, node, so_far in found:
            marks.setdefault(minute, {})[node] = so_far
        return marks


def _nodes(opened: Mapping[int, Mapping[int, int]]) -> dict[int, Set[int]]:
    return {minute: marks.keys() for minute, marks in opened.items()}
