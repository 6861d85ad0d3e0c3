"""Keep prices: take them in, tell each node's, and price nodes anew when something changed. A thin loop around
judgements that are pure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis.commitments import changed_terms
from inferno_governator.analysis.cost import FactsChange
from inferno_governator.prices import overlay as terms
from inferno_governator.prices import table
from inferno_governator.prices.book import Known, PriceBook
from inferno_governator.prices.flags import Flag, flags
from inferno_governator.prices.offers import OfferKey, Quote
from inferno_governator.prices.overlay import Overlay
from inferno_governator.prices.pricing import CommitmentUse, Origin, Priced, in_force, price_fleet
from inferno_governator.prices.rebilling import rebilled
from inferno_governator.prices.rules import Rules, State, Verdict, impossible
from inferno_governator.prices.sources.source import Addresses
from inferno_governator.prices.taking import Outcome, Taken, When, take
from inferno_governator.store import books, commitments
from inferno_governator.store import facts as fact_rows
from inferno_governator.store import prices as price_rows
from inferno_governator.store.facts import Statement
from inferno_governator.store.store import Store
from inferno_governator.usage import Facts
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, InvalidInput

_LOG = logs.get("governator.prices")
_MINUTE_MICROS = 60_000_000
# A node of which nothing came for so long does not run: it holds no place in a reservation.
_PRESENT_MICROS = 10 * _MINUTE_MICROS
# Power is the mean of so much time, looked at so often.
_POWER_MINUTES, _POWER_SECONDS = 24 * 60, 3600.0
# Measured power wavers; a price that follows every watt would be a new price every hour.
_WAVER_PERCENT = 1
_REPRICED = frozenset({Origin.CATALOGUE.value, Origin.ESTIMATE.value, Origin.UNPRICED.value})
_PUBLIC = Addresses()
_OK = Verdict(State.OK)


@dataclass(frozen=True, slots=True)
class NodePrice:
    """What a node costs now, and why."""

    node: str
    facts: Facts
    priced: Priced
    running: bool


class PriceKeeper:
    """The prices of one governator.

    ``file`` is one's own terms, None: there are none; ``addresses`` are where clouds are asked.
    """

    def __init__(
        self, store: Store, clock: Clock, rules: Rules, file: Path | None = None, addresses: Addresses = _PUBLIC
    ) -> None:
        self.rules = rules
        self.addresses = addresses
        self.book = PriceBook()
        self.overlay = Overlay()
        self._store = store
        self._clock = clock
        self._file = file
        self._fleet: dict[str, Facts] = {}
        self._watts: dict[str, int] = {}
        self._watts_due = 0.0
        self._unpriced: set[str] = set()
        # The minute from which each commitment counts: when it was read first.
        self._counts_from: dict[str, int] = {}
        # Which database was filled: the count of those set aside before it.
        self._filled = -1

    async def open(self) -> None:
        """Read one's own terms, bring the bundled catalogue in, and price nodes from now on.

        Raises:
            InvalidInput, NotFound: The file of one's own terms cannot be read.
            Unavailable: The store cannot be used now.
        """
        self._read_terms()
        await self._bring_in()
        self._store.pricing = self.price

    async def run(self, every: float) -> None:
        """Look again at terms, prices and nodes, for ever."""
        while True:
            await self._clock.sleep(every)
            try:
                self._read_terms()
                await self.reprice()
            except InfernoError as error:
                _LOG.warning("prices are not looked at now", error=str(error))

    def price(self, node: str, facts: Facts, minute: int) -> Facts:
        """The same facts with the price of the node in a minute."""
        self._fleet[node] = facts
        # Only a commitment makes the price of one depend on the others.
        counting = [each for each in self.overlay.commitments if self._counts_from.get(each.name, minute + 1) <= minute]
        nodes = self._fleet if counting else {node: facts}
        known = replace(self.overlay, commitments=tuple(counting))
        priced, _ = price_fleet(nodes, minute, self.book, known, self._watts)
        return _with(facts, priced[node])

    async def take(self, quotes: Sequence[Quote], *, confirmed: bool = False) -> list[Outcome]:
        """Judge prices and store those that count or wait; when this returns they are on disk and nodes cost them.

        Raises:
            Unavailable: Nothing is stored; it may be tried again.
        """
        await self._bring_in()
        when = self._when()
        async with self._changing() as (connection, book):
            outcomes = take(quotes, book, when, self.rules, confirmed=confirmed)
            await price_rows.record(connection, outcomes, when.micros)
            await self._reprice(connection, book)
        return outcomes

    async def correct(self, quote: Quote, start: int, end: int | None) -> int:
        """Set the price that an offer had from one Unix minute until before another (None: until now and on), and bill
        the nodes of that time again; returns how many.

        Raises:
            InvalidInput: It can be no price of this offer, or the time is empty, still to come, or of hours whose
                minutes are no longer kept.
            Unavailable: Nothing is changed; it may be tried again.
        """
        when = self._when()
        why = impossible(quote, when.today)
        if why:
            raise InvalidInput(why, reason="BAD_PRICE", fix="Give the price of an hour of the whole machine.")
        until = when.minute + 1 if end is None else end
        if not start < until <= when.minute + 1:
            raise InvalidInput(
                "The time to bill again is empty or not yet over.",
                reason="BAD_PERIOD",
                fix="Give a start that lies before the end, both in the past.",
            )
        await self._bring_in()
        async with self._changing() as (connection, book):
            kept = await books.sealed(connection, 1)
            if start < kept:
                # By the hour alone nobody can tell what a minute cost.
                raise InvalidInput(
                    f"What was billed before {_time(kept)} is kept by the hour, and cannot be billed again.",
                    reason="SEALED",
                    fix="Give a later start; minute_retention_days says how long minutes are kept.",
                )
            entry = book.entry(quote.offer.key)
            after = entry.at(until) if entry and end is not None else None
            put = [Known(quote, start, when.micros)]
            if after is not None and after.from_minute < until:
                put.append(Known(after.quote, until, when.micros))
            await price_rows.correct(connection, put, start, until, when.micros)
            fresh = PriceBook(await price_rows.load(connection))
            count = await self._rebill(connection, fresh, start, until)
            await self._reprice(connection, fresh)
        self.book = fresh
        return count

    async def reprice(self) -> None:
        """Price nodes anew, by what other governators stored and by who runs now.

        Raises:
            Unavailable: It cannot be done now.
        """
        await self._bring_in()
        async with self._changing() as (connection, book):
            await self._reprice(connection, book)

    async def history(self, key: OfferKey) -> list[Known]:
        """Every price of an offer that was ever known, also those replaced, in the order in which they became known.

        Raises:
            Unavailable: It cannot be read now.
        """
        async with self._store.reading() as connection:
            return await price_rows.load(connection, key, replaced=True)

    async def nodes(self) -> tuple[list[NodePrice], list[CommitmentUse]]:
        """What nodes cost, by name, and how commitments are used by those that run.

        Raises:
            Unavailable: It cannot be read now.
        """
        when = self._when()
        async with self._store.reading() as connection:
            known = await fact_rows.newest(connection)
            present = await price_rows.present(connection, when.micros - _PRESENT_MICROS)
        running = {name: each.facts for name, each in known.items() if each.node in present}
        priced, uses = price_fleet(running, when.minute, self.book, self.overlay, self._watts)
        gone = {name: each.facts for name, each in known.items() if name not in running}
        away, _ = price_fleet(gone, when.minute, self.book, replace(self.overlay, commitments=()), self._watts)
        return [
            NodePrice(name, each.facts, {**priced, **away}[name], name in running)
            for name, each in sorted(known.items())
        ], uses

    def flags(self) -> list[Flag]:
        """What somebody should look at of the prices that nodes have which run."""
        return flags(self._fleet, self.minute(), self.today(), self.book, self.rules)

    def today(self) -> date:
        """The day, in UTC."""
        return self._when().today

    def minute(self) -> int:
        """The Unix minute."""
        return self._when().minute

    def _when(self) -> When:
        wall = self._clock.wall()
        return When(datetime.fromtimestamp(wall, UTC).date(), int(wall // 60), int(wall * 1_000_000))

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[tuple[AsyncConnection, PriceBook]]:
        """A transaction, and the prices as they are on disk; what is put into the book counts once it is committed."""
        async with self._store.writing() as connection:
            book = PriceBook(await price_rows.load(connection))
            yield connection, book
        self.book = book

    async def _bring_in(self) -> None:
        """Take the bundled catalogue and one's own history in, once in each database."""
        database = self._store.replacements.value
        if database == self._filled:
            return
        quotes, when = table.bundled(), self._when()
        async with self._changing() as (connection, book):
            outcomes = take(quotes, book, when, self.rules)
            await price_rows.record(connection, outcomes, when.micros)
            await self._reprice(connection, book)
        refused = [each.verdict.reason for each in outcomes if each.taken is Taken.REFUSED]
        if len(refused) == len(outcomes):
            # Only a clock far in the past does this.
            _LOG.warning("no price of the bundled catalogue is taken", why=refused[0])
        for file in self.overlay.spot_history:
            await self._take_history(file)
        self._filled = database

    async def _reprice(self, connection: AsyncConnection, book: PriceBook) -> None:
        when = self._when()
        known = await fact_rows.newest(connection)
        present = await price_rows.present(connection, when.micros - _PRESENT_MICROS)
        if self.overlay.measures and self._clock.monotonic() >= self._watts_due:
            self._watts = await price_rows.watts(connection, when.minute - _POWER_MINUTES)
            self._watts_due = self._clock.monotonic() + _POWER_SECONDS
        self._fleet = {name: each.facts for name, each in known.items() if each.node in present}
        priced, _ = price_fleet(self._fleet, when.minute, book, self.overlay, self._watts)
        self._warn(priced)
        await self._keep_terms(connection, when.minute)
        changes = []
        for name, facts in self._fleet.items():
            again = _with(facts, priced[name])
            if again != facts and not _wavers(facts, again):
                # From the next minute on: the one that runs keeps the price that it began with.
                changes.append(Statement(known[name].node, max(when.minute + 1, known[name].minute), again))
                self._fleet[name] = again
        await fact_rows.record(connection, changes)

    async def _keep_terms(self, connection: AsyncConnection, minute: int) -> None:
        """Note what commitments cost from now on; those that are new count at once, and what nodes pay follows."""
        known = await commitments.read(connection)
        now = in_force(self.overlay, minute)
        await commitments.write(connection, changed_terms(known, now, minute))
        self._counts_from = {name: known[name][0].minute if name in known else minute for name in now}

    def _warn(self, priced: Mapping[str, Priced]) -> None:
        """Say once of each node that it is billed at zero because nobody knows its price."""
        unpriced = {name for name, each in priced.items() if each.origin is Origin.UNPRICED}
        for name in sorted(unpriced - self._unpriced):
            _LOG.warning("a node has no price and is billed at zero", node=name, why=priced[name].reason)
        self._unpriced = unpriced

    async def _rebill(self, connection: AsyncConnection, book: PriceBook, start: int, end: int) -> int:
        plain = replace(self.overlay, commitments=())

        def again(name: str, facts: Facts, minute: int) -> Facts:
            if facts.origin not in _REPRICED:
                return facts
            priced, _ = price_fleet({name: facts}, minute, book, plain, self._watts)
            return _with(facts, priced[name])

        names = {each.node: name for name, each in (await fact_rows.newest(connection)).items()}
        writes: list[Statement] = []
        count = 0
        for node, rows in (await fact_rows.histories(connection, end + 1)).items():
            changes = rebilled(
                [FactsChange(row.minute, row.facts) for row in rows],
                start,
                end,
                lambda facts, minute, name=names[node]: again(name, facts, minute),  # type: ignore[misc]
            )
            count += bool(changes)
            writes += [Statement(node, each.minute, each.facts) for each in changes]
        await fact_rows.overwrite(connection, writes)
        return count

    def _read_terms(self) -> None:
        if self._file is None:
            return
        read = terms.load(self._file)
        if read != self.overlay:
            for problem in read.problems:
                _LOG.warning("an entry of the file of prices is left out", problem=problem)
            self.overlay = read
            self._watts_due = 0.0

    async def _take_history(self, file: Path) -> None:
        """Bring a table of past prices in: each counts from its day on, unless an offer has prices already."""
        read = table.read(file.read_text("utf-8"))
        for bad in read.bad:
            _LOG.warning("a row of the price history is left out", file=str(file), line=bad.line, why=bad.sentence)
        when = self._when()
        async with self._changing() as (connection, book):
            entries: dict[OfferKey, list[Quote]] = {}
            for row in read.rows:
                if not impossible(row.quote, when.today):
                    entries.setdefault(row.quote.offer.key, []).append(row.quote)
            put = []
            for key, quotes in entries.items():
                entry = book.entry(key)
                known = {(each.from_minute, each.quote.micros) for each in entry.history} if entry else set()
                for quote in sorted(quotes, key=lambda each: each.as_of):
                    minute = int(datetime(*quote.as_of.timetuple()[:3], tzinfo=UTC).timestamp() // 60)
                    if (minute, quote.micros) not in known:
                        put.append(Outcome(quote, Taken.NEW, _OK, None, Known(quote, minute, when.micros)))
            for each in put:
                if each.known is not None:
                    book.add(each.known)
            await price_rows.record(connection, put, when.micros)


def _time(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).isoformat(timespec="minutes")


def _with(facts: Facts, priced: Priced) -> Facts:
    return replace(
        facts,
        price=priced.micros,
        origin=priced.origin.value,
        commitment=priced.commitment,
        committed=priced.committed,
    )


def _wavers(before: Facts, after: Facts) -> bool:
    owned = Origin.OWNED.value
    return (
        before.origin == after.origin == owned and abs(after.price - before.price) * 100 < before.price * _WAVER_PERCENT
    )
