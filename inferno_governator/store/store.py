"""The store as the rest of the governator sees it: batches in, usage out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence, Set
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.alerts.alert import Alert, Told
from inferno_governator.analysis.cost import FactsChange
from inferno_governator.analysis.device_use import DeviceTotal
from inferno_governator.analysis.items import Item
from inferno_governator.budgets.budget import Budget
from inferno_governator.capacity import Capacity, DeviceFigure
from inferno_governator.notices import Notice, StoredNotice
from inferno_governator.requests import RequestUse
from inferno_governator.store import (
    alerts,
    budgets,
    capacities,
    demand,
    device_faults,
    device_figures,
    device_reader,
    node_news,
    notices,
    positions,
    requests,
    retention,
    usage_reader,
)
from inferno_governator.store.address import DatabaseAddress
from inferno_governator.store.books import settle_days, settle_hours
from inferno_governator.store.demand import MinuteDemand
from inferno_governator.store.engine import Database
from inferno_governator.store.faults import CORRUPT
from inferno_governator.store.ingest import Pricing, Stored, as_reported, ingest
from inferno_governator.store.item_reader import ItemReader
from inferno_governator.store.items import APART, Subjects
from inferno_governator.store.migration import migrate
from inferno_governator.store.names import MOST, Names
from inferno_governator.store.retention import Retention
from inferno_governator.store.rollups import MINUTE_MICROS
from inferno_governator.store.sqlite_file import prepare, set_aside
from inferno_governator.usage import Batch
from inferno_governator.watch.node_findings import NodeNews, SickDevice
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError
from inferno_runtime.latest import Latest


class Moment:
    """What is stored at one moment: a bill whose prices are older than its usage would be too low."""

    def __init__(self, connection: AsyncConnection, subjects: Subjects) -> None:
        self._connection = connection
        self._subjects = subjects

    async def facts(self, end_minute: int) -> dict[str, list[FactsChange]]:
        """What every node said of itself up to a minute, its price for one, oldest first."""
        return await usage_reader.node_facts(self._connection, end_minute)

    def items(
        self, start_minute: int, end_minute: int, *, together: bool = False, apart: Set[str] = APART
    ) -> AsyncIterator[list[Item]]:
        """What is billed from one minute until before another, in chunks that bound memory: by day for whole days
        (UTC), by hour for whole hours, by minute at the edges and where an hour is not settled yet. ``together``:
        nobody asks when it was, so days, and hours, that follow one another are added up. ``apart``: what items need to
        be told apart by; of the rest some are empty, since the database has added them up."""
        reader = ItemReader(self._connection, self._subjects, together=together, apart=apart)
        return reader.read(start_minute, end_minute)

    async def devices(self, start_minute: int, end_minute: int, node: str = "") -> list[DeviceTotal]:
        """How each device was used from one minute until before another, by node and name; an empty node is all."""
        return await device_reader.read(self._connection, start_minute, end_minute, node)

    async def demand(self, model: str, start_minute: int, end_minute: int) -> list[MinuteDemand]:
        """What came for a model in each minute from one until before another, of which a node told."""
        return await demand.read(self._connection, model, start_minute, end_minute)

    async def dropped_samples(self, start_minute: int, end_minute: int) -> int:
        """How many samples nodes say they dropped from one minute until before another."""
        return await usage_reader.dropped(self._connection, start_minute, end_minute)

    def requests(self, start_minute: int, end_minute: int) -> AsyncIterator[list[RequestUse]]:
        """What callers asked from one minute until before another, in chunks: by day for whole days (UTC), by hour
        for whole hours, by minute at the edges."""
        return requests.read(self._connection, start_minute, end_minute)


class Store:
    """A database that is open from ``async with`` on: checked, brought to this schema, ready.

    A damaged SQLite file, found at start or later, is renamed and a new one is begun.

    Raises on entering:
        InvalidInput: The database is another program's or a newer version's.
        Unavailable, NotFound, Unauthenticated: It cannot be opened.
    """

    def __init__(self, address: DatabaseAddress, clock: Clock, busy_seconds: float = 5.0, names: int = MOST) -> None:
        self.address = address
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._database = Database(address, busy_seconds)
        # What nodes cost, by their facts; the agent's own word until somebody knows better.
        self.pricing: Pricing = as_reported
        self._most_names = names
        self._names = Names(most=names)
        self._subjects = Subjects()
        self._replacing = asyncio.Lock()
        # How many damaged files have been set aside in use: whoever relies on what was stored watches it.
        self.replacements = Latest(0)

    async def __aenter__(self) -> Self:
        if self.address.file is not None:
            await asyncio.to_thread(prepare, self.address.file)
        try:
            await self._open(self._database)
        except BaseException:
            await self._database.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._database.close()

    async def _open(self, database: Database) -> None:
        async with database.write() as connection:
            await connection.run_sync(migrate, str(self.address))

    async def commit(self, batches: Sequence[Batch]) -> list[Stored]:
        """Store batches in one transaction; when this returns they are on disk.

        Raises:
            Unavailable: Nothing is stored; the same batches may be tried again.
        """
        names, draft = self._names, Names()
        async with self._mended() as database, database.write() as connection:
            stored = await ingest(connection, names, draft, batches, self._now(), self.pricing)
        names.keep(draft)
        return stored

    async def positions(self, incarnation: int) -> dict[str, int]:
        """The last sequence stored of each node's batches of one incarnation.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            return await positions.of_incarnation(connection, incarnation)

    async def told_otherwise(self, incarnation: int, seconds: float) -> set[str]:
        """Nodes of which a batch of another incarnation was stored in the last so many seconds.

        Raises:
            Unavailable: It cannot be read now.
        """
        since = self._now() - int(seconds * 1_000_000)
        async with self._mended() as database, database.read() as connection:
            return await positions.told_otherwise(connection, incarnation, since)

    async def note(self, notice: Notice) -> bool:
        """Store what a provider announced; when this returns it is on disk. False when it was there already.

        Raises:
            Unavailable: It is not stored; it may be tried again.
        """
        names, draft = self._names, Names()
        async with self._mended() as database, database.write() as connection:
            numbers = await names.number_nodes(connection, [notice.node_id], draft)
            new = await notices.write(connection, numbers[notice.node_id], notice, self._now())
        names.keep(draft)
        return new

    async def notices(self, start_micros: int) -> list[StoredNotice]:
        """What providers announced since a time (Unix microseconds), oldest first.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            return await notices.read(connection, start_micros)

    async def keep_capacities(self, reports: Sequence[Capacity], figures: Sequence[DeviceFigure] = ()) -> None:
        """Store what benchmarks have shown of models and devices, in one transaction; when this returns it is on disk.

        Raises:
            Unavailable: Nothing is stored; it may be tried again.
        """
        names, draft = self._names, Names()
        async with self._mended() as database, database.write() as connection:
            await capacities.record(connection, names, draft, reports)
            await device_figures.record(connection, names, draft, figures)
        names.keep(draft)

    async def capacities(self, node: str, model: str) -> list[Capacity]:
        """The newest report about each thing, by node, model and time; an empty name is every node or model.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            return await capacities.newest(connection, node, model)

    async def device_figures(self, node: str) -> list[DeviceFigure]:
        """The newest figure of each device, by node; an empty name is every node.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            return await device_figures.newest(connection, node)

    async def budgets(self) -> list[Budget]:
        """The budgets that calls have set, by name.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            return await budgets.read(connection)

    async def keep_budget(self, budget: Budget) -> None:
        """Keep a budget in the place of the one of its name; when this returns it is on disk.

        Raises:
            Unavailable: It is not stored; it may be tried again.
        """
        async with self._mended() as database, database.write() as connection:
            await budgets.write(connection, budget)

    async def drop_budget(self, name: str) -> bool:
        """Delete a budget; False when there is none of that name.

        Raises:
            Unavailable: It is not deleted; it may be tried again.
        """
        async with self._mended() as database, database.write() as connection:
            return await budgets.drop(connection, name)

    async def alerts(self) -> list[Alert]:
        """The alerts that last and the newest of those that are over, the newest first.

        Raises:
            Unavailable: They cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            return await alerts.read(connection)

    async def keep_alerts(self, changed: Sequence[Alert]) -> None:
        """Keep alerts as they are now, in one transaction; when this returns they are on disk.

        Raises:
            Unavailable: None is stored; it may be tried again.
        """
        async with self._mended() as database, database.write() as connection:
            await alerts.write(connection, changed)

    async def node_news(self, since_micros: int, dropped_from_minute: int) -> list[NodeNews]:
        """When nodes were heard last that were heard since a time, and what they dropped from a minute on.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            return await node_news.read(connection, since_micros, dropped_from_minute)

    async def sick_devices(self, since_micros: int) -> list[SickDevice]:
        """Devices of which nodes said since a time (Unix microseconds) that they can do no work.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            return await device_faults.read(connection, since_micros)

    async def told(self, receiver: str) -> dict[tuple[str, int], Told]:
        """What a receiver was told last of each alert, by fingerprint and start.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            return await alerts.told(connection, receiver)

    async def note_told(self, receiver: str, known: Sequence[Alert]) -> None:
        """Keep that a receiver was told of alerts as they are.

        Raises:
            Unavailable: It is not stored; it may be tried again.
        """
        async with self._mended() as database, database.write() as connection:
            await alerts.note_told(connection, receiver, known, self._now())

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of whoever keeps tables of his own; committed at the end, on disk when this returns.

        Raises:
            Unavailable: Nothing of it is stored; it may be tried again.
        """
        async with self._mended() as database, database.write() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """The same for who reads: one state of the database.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            yield connection

    async def forget(self, kept: Retention) -> int:
        """Delete what is older than is kept, in short transactions; returns how many rows went.

        Raises:
            Unavailable: It cannot be deleted now.
        """
        total = 0
        for each in retention.horizons(kept, self._now()):
            async with self._mended() as database, database.write() as connection:
                horizon = await retention.sealed(connection, each)
            gone = retention.PIECE
            while gone >= retention.PIECE:
                async with self._mended() as database, database.write() as connection:
                    gone = await retention.forget(connection, horizon)
                total += gone
        return total

    async def settle(self, most: int = 100) -> bool:
        """Bring the books up to date, in at most so many short transactions; True when nothing is left to be done.

        Whoever stores takes turns with it, and so waits for one of them at most.

        Raises:
            Unavailable: It cannot be done now.
        """
        for settle in (settle_hours, settle_days):
            settled = 1
            while settled:
                if not most:
                    return False
                most -= 1
                async with self._mended() as database, database.write() as connection:
                    settled = await settle(connection, self._now() // MINUTE_MICROS)
        return True

    @asynccontextmanager
    async def moment(self) -> AsyncIterator[Moment]:
        """One state of the database to read from, whatever is committed meanwhile.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._mended() as database, database.read() as connection:
            yield Moment(connection, self._subjects)

    def _now(self) -> int:
        return int(self._clock.wall() * 1_000_000)

    @asynccontextmanager
    async def _mended(self) -> AsyncIterator[Database]:
        """The database for one piece of work; if it proves damaged, the file is set aside and a new one is begun."""
        database = self._database
        try:
            yield database
        except InfernoError as error:
            if error.reason == CORRUPT:
                await self._replace(database, str(error))
            elif database.closed:
                # The disk that seems to fail, or the table that is not there: the file was set aside in the middle.
                raise database.replaced() from error
            raise

    async def _replace(self, damaged: Database, damage: str) -> None:
        async with self._replacing:
            file = self.address.file
            if file is None or self._database is not damaged:
                return
            await damaged.close()
            await asyncio.to_thread(set_aside, file, damage)
            self._names = Names(most=self._most_names)
            self._subjects = Subjects()
            fresh = Database(self.address, self._busy_seconds)
            try:
                # Nobody may see it before its tables are there: that would look like a database of somebody else's.
                await self._open(fresh)
            finally:
                self._database = fresh
            self.replacements.set(self.replacements.value + 1)
