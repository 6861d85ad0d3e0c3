"""Read what is billed: whole days from day rows, whole hours from hour rows, and minutes at the edges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Set

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis.commitments import CommitmentMeter
from inferno_governator.analysis.cost import cut
from inferno_governator.analysis.items import Item
from inferno_governator.store import books, commitments, items, usage_reader
from inferno_governator.store.items import DAY, HOUR, Subjects, Wanted
from inferno_governator.store.requests import stretches
from inferno_governator.store.schema import Node, table

_NODE = table(Node)
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

    ``together``: nobody asks when it was, so days, and hours, that follow one another are added up.
    """

    def __init__(self, connection: AsyncConnection, subjects: Subjects, *, together: bool = False) -> None:
        self._connection = connection
        self._subjects = subjects
        self._together = together
        self._whole = items.read_together if together else items.read
        # By length and first minute: the numbers of nodes of which the stretch is open.
        self._open: dict[int, dict[int, set[int]]] = {}
        self._sealed: dict[int, int] = {}

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
                parts.append(self._minutes(*rest) if length == 1 else self._hours(*rest))
            for part in parts:
                async for chunk in part:
                    yield chunk

    async def _days(self, first: int, last: int) -> Chunks:
        for start, end, opened in runs(first, last, DAY, self._open[DAY]):
            async for chunk in self._whole(self._connection, self._subjects, DAY, start, end, _but(opened)):
                yield chunk
            if opened:
                async for chunk in self._hours(start, end, opened.__contains__):
                    yield chunk

    async def _hours(self, first: int, last: int, wanted: Wanted | None = None) -> Chunks:
        for start, end, opened in runs(first, last, HOUR, self._open[HOUR]):
            async for chunk in self._whole(self._connection, self._subjects, HOUR, start, end, _but(opened, wanted)):
                yield chunk
            asked = {node for node in opened if wanted is None or wanted(node)}
            if asked:
                async for chunk in self._minutes(start, end, asked.__contains__):
                    yield chunk

    async def _minutes(self, first: int, last: int, wanted: Wanted | None = None) -> Chunks:
        if first >= last:
            return
        history = await usage_reader.node_facts(self._connection, last)
        numbered = await self._connection.execute(select(_NODE.c.id, _NODE.c.name))
        names = None if wanted is None else {name for number, name in numbered if wanted(number)}
        async for chunk in usage_reader.usage(self._connection, first, last):
            made = chunk.items(history)
            yield made if names is None else [item for item in made if item.node in names]

    async def _cut(self, length: int, first: int, last: int) -> Chunks:
        """The part of what a coarser level has."""
        if first >= last:
            return
        async for chunk in items.read(self._connection, self._subjects, length, first - first % length, last):
            yield [part for item in chunk if (part := cut(item, first, last)) is not None]

    async def _opened(self, length: int, start: int, end: int) -> dict[int, set[int]]:
        opened = books.OPEN[length]
        found = await self._connection.execute(
            select(opened.c.minute, opened.c.node).where(opened.c.minute >= start, opened.c.minute < end)
        )
        nodes: dict[int, set[int]] = {}
        for minute, node in found:
            nodes.setdefault(minute, set()).add(node)
        return nodes


def _but(opened: Set[int], wanted: Wanted | None = None) -> Wanted | None:
    if not opened:
        return wanted
    return lambda node: node not in opened and (wanted is None or wanted(node))
