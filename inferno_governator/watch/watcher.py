"""Looks for what is worth an alert, once a minute: reads, lets the rules judge, keeps what changed and logs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from inferno_governator.alerts.alert import Alert, Finding, Kind, Severity
from inferno_governator.alerts.judging import AlertBook
from inferno_governator.analysis.change import account, change
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.budgets import findings as budget_findings
from inferno_governator.budgets.keeper import BudgetKeeper
from inferno_governator.metrics import Metrics
from inferno_governator.money import MICROS
from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.requests import RequestUse
from inferno_governator.store.store import Store
from inferno_governator.watch import node_findings, objective_findings, price_findings, spend_watch
from inferno_governator.watch.anomalies import STRETCH, Anomaly
from inferno_governator.watch.burn_rates import LONGEST, Burn, burns
from inferno_governator.watch.objective import Objective
from inferno_governator.watch.objective_keeper import ObjectiveKeeper
from inferno_governator.watch.outcomes import OutcomeBook
from inferno_governator.watch.price_findings import PriceWatch
from inferno_governator.watch.spend_watch import SpendWatch
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, NotFound

_LOG = logs.get("watch")
_HOUR, _DAY = 60, 1440
# Minutes after which nearly all telemetry of a minute has come.
_SETTLE = 2
# Minutes that are read again at each look, for what came late.
_LATE = 5
# Stretches of the past that one look catches up with after a start: an hour's.
_CATCH_UP = 6
_MICROS = 1_000_000
# Seconds after which a device of which nothing is said any more is well, or its node is silent.
_SICK = 180


class Watcher:
    """What is watched, and the alerts that last. ``prices`` are those that nodes have; None: nobody keeps any."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        budgets: BudgetKeeper,
        objectives: ObjectiveKeeper,
        every_seconds: float,
        prices: PriceKeeper | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._budgets = budgets
        self._keeper = prices
        self.objectives = objectives
        # What models promise, by the model, as of the last look.
        self._objectives: Mapping[str, Objective] = objectives.settled
        self._outcomes = OutcomeBook(self._objectives)
        self._outcomes_until: int | None = None
        self._spend, self._prices = SpendWatch(), PriceWatch()
        self._unpriced: list[Finding] = []
        self._why: list[Finding] = []
        self._spend_until: int | None = None
        self._every = every_seconds
        self._book: AlertBook | None = None

    async def run(self) -> None:
        """Look, for ever; what cannot be looked at now is looked at next time."""
        while True:
            try:
                await self.look()
            except InfernoError as error:
                if not error.temporary:
                    raise
                _LOG.warning("nothing is watched now", error=str(error))
            await self._clock.sleep(self._every)

    async def look(self) -> list[Alert]:
        """Look once; returns the alerts that began, changed or ended.

        Raises:
            Unavailable: The store cannot be used now; nothing of the look is kept.
        """
        now = int(self._clock.wall())
        book = await self._lasting()
        looks: tuple[tuple[tuple[Kind, ...], Callable[[int], Awaitable[list[Finding]]]], ...] = (
            ((Kind.BUDGET,), self._look_at_budgets),
            ((Kind.SPEND, Kind.UNPRICED, Kind.PRICE), self._look_at_spend),
            ((Kind.OBJECTIVE,), self._look_at_objectives),
            ((Kind.NODE,), self._look_at_nodes),
        )
        findings: list[Finding] = []
        looked_at: set[Kind] = set()
        for kinds, look in looks:
            findings += await look(now)
            looked_at.update(kinds)
        changed = book.look(findings, looked_at, now * _MICROS)
        try:
            if changed:
                await self._store.keep_alerts(changed)
        except InfernoError:
            # What is not on disk has not happened: the next look begins with what is there.
            self._book = None
            raise
        for alert in changed:
            _log(alert)
        for kind in Kind:
            self._metrics.alerts.labels(kind.value).set(sum(each.finding.kind is kind for each in book.lasting))
        return changed

    async def alerts(self, *, ended: bool) -> list[Alert]:
        """The alerts that last, with what was seen last of each; and those that are over, if wanted.

        Raises:
            Unavailable: The store cannot be read now.
        """
        lasting = (await self._lasting()).lasting
        over = [each for each in await self._store.alerts() if each.end_micros is not None] if ended else []
        return sorted([*lasting, *over], key=lambda each: (-each.start_micros, each.key))

    async def silence(self, fingerprint: str, seconds: int) -> Alert:
        """Tell nobody of an alert for some seconds; when this returns it is on disk.

        Raises:
            NotFound: No such alert lasts.
            Unavailable: It is not stored.
        """
        book = await self._lasting()
        until = int((self._clock.wall() + seconds) * _MICROS) if seconds else 0
        known = next((each for each in book.lasting if each.finding.fingerprint == fingerprint), None)
        if known is None:
            raise NotFound(f"No alert {fingerprint[:40]!r} lasts.", reason="NO_ALERT", fix="See: inferno watch alerts")
        await self._store.keep_alerts([replace(known, silenced_until_micros=until)])
        return book.silence(fingerprint, until) or known

    def burns(self) -> list[tuple[Objective, list[Burn]]]:
        """Every objective by model, and how fast its budget burns, as of the last look."""
        until = self._outcomes_until or 0
        return [
            (each, burns(each, self._outcomes.of(model), until)) for model, each in sorted(self._objectives.items())
        ]

    async def _lasting(self) -> AlertBook:
        if self._book is None:
            known = await self._store.alerts()
            lasting = [each for each in known if each.end_micros is None]
            self._book = AlertBook(lasting, int(self._clock.wall() * _MICROS))
        return self._book

    async def _look_at_budgets(self, now: int) -> list[Finding]:
        standings = await self._budgets.standings()
        self._metrics.budget_left.clear()
        for each in standings:
            self._metrics.budget_left.labels(each.budget.name).set(each.left_micros / MICROS)
        return budget_findings.findings(standings, now // 60)

    async def _look_at_nodes(self, now: int) -> list[Finding]:
        news = await self._store.node_news((now - 7200) * _MICROS, now // 60 - STRETCH)
        sick = await self._store.sick_devices((now - _SICK) * _MICROS)
        return node_findings.findings(await self._store.notices((now - 3600) * _MICROS), news, sick, now * _MICROS)

    async def _look_at_objectives(self, now: int) -> list[Finding]:
        objectives = {each.model: each for each in await self.objectives.objectives()}
        if objectives != self._objectives:
            # What was good by another promise may be bad by this one: what became of requests is read again.
            self._objectives, self._outcomes, self._outcomes_until = objectives, OutcomeBook(objectives), None
        if not objectives:
            return []
        minute = now // 60
        if self._outcomes_until is None or minute - self._outcomes_until > _HOUR:
            # Hours first, and minutes where the short windows need them.
            edge = minute // _HOUR * _HOUR - _HOUR
            for start in range(edge - LONGEST, edge, _HOUR):
                await self._read_outcomes(start, start + _HOUR)
            start = edge
        else:
            start = self._outcomes_until - _LATE
        # Half an hour at a time: of a whole hour asked for at once, the store knows the hour alone.
        for at in range(start, minute, _HOUR // 2):
            await self._read_outcomes(at, min(minute, at + _HOUR // 2))
        self._outcomes_until = minute
        return [
            finding for objective, found in self.burns() for finding in objective_findings.findings(objective, found)
        ]

    async def _read_outcomes(self, start: int, end: int) -> None:
        items = await self._items(start, end)
        uses: list[RequestUse] = []
        async with self._store.moment() as moment:
            async for chunk in moment.requests(start, end):
                uses += chunk
        self._outcomes.replace(start, end, items, uses)

    async def _look_at_spend(self, now: int) -> list[Finding]:
        last = (now // 60 - _SETTLE) // STRETCH * STRETCH
        start = last - _DAY if self._spend_until is None else max(self._spend_until, last - _DAY)
        for minute in range(start, min(last, start + _CATCH_UP * STRETCH), STRETCH):
            items = await self._items(minute, minute + STRETCH)
            self._spend.see(minute, items)
            self._prices.see(minute, items)
            self._unpriced = price_findings.unpriced(items)
            self._spend_until = minute + STRETCH
            late = minute + 2 * STRETCH <= last
            self._why = [] if late else await self._explained(items)
        if self._spend_until is None:
            self._spend_until = start
        flags = self._keeper.flags() if self._keeper else []
        return [*self._why, *self._unpriced, *self._prices.findings(), *price_findings.flagged(flags)]

    async def _explained(self, items: list[Item]) -> list[Finding]:
        return [
            await self._explain(subject, anomaly, items) for subject, anomaly in sorted(self._spend.anomalies.items())
        ]

    async def _explain(self, subject: str, anomaly: Anomaly, items: list[Item]) -> Finding:
        usual = await self._items(anomaly.usual_minute, anomaly.usual_minute + STRETCH)
        before, after = ([item for item in each if spend_watch.concerns(subject, item)] for each in (usual, items))
        came = {item.node for item in after} - {item.node for item in before}
        return spend_watch.finding(subject, anomaly, change(account(before), account(after)), came)

    async def _items(self, start: int, end: int) -> list[Item]:
        """What nodes did; what is unused of commitments follows no request, and would hide what does."""
        found: list[Item] = []
        async with self._store.moment() as moment:
            async for chunk in moment.items(start, end):
                found += [item for item in chunk if item.purpose is not Purpose.UNUSED]
        return found


def _log(alert: Alert) -> None:
    found = alert.finding
    if alert.end_micros is not None:
        _LOG.info("an alert is over", kind=found.kind.value, subject=found.subject, fingerprint=found.fingerprint)
        return
    say = _LOG.error if found.severity is Severity.CRITICAL else _LOG.warning
    say(
        "an alert",
        kind=found.kind.value,
        subject=found.subject,
        severity=found.severity.name.lower(),
        cause=found.cause,
        next=found.next_step,
        fingerprint=found.fingerprint,
    )
