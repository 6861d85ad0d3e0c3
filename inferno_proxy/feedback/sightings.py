"""What was seen of a model, and of each of its endpoints, of late.

A try is compared with tries of the same size: the logarithm of its duration, less the average one of its size class, is
its residual. So an endpoint that got the larger requests does not look slow.
"""

from __future__ import annotations

import itertools
import math

from inferno_proxy.feedback import stuck, weights
from inferno_proxy.feedback.hedging import Calls, Hedging
from inferno_proxy.feedback.latency import Distribution, FadingMean, Histogram, Level
from inferno_proxy.feedback.observed import Counts, Observation, Outcome, Try
from inferno_proxy.feedback.stuck import Spell, Standing
from inferno_proxy.feedback.weights import Share

# Half-lives in seconds: what is slow now, what is usual, and what a distribution's tail needs to have enough samples.
_NOW = 2.0
_USUAL = 60.0
_TAIL = 30.0
# Samples of a size class before its average means anything.
_KNOWN_CLASS = 5.0
# A try that failed counts as this many times slower than usual: answering errors quickly is no merit.
_FAILED_AS = math.log(10.0)
# A try that was given up would have taken this many times longer.
_GIVEN_UP = math.log(2.0)
# The model as a whole is this many times slower than usual, or has this many times the usual calls under way.
_SLOWER = math.log(2.0)
_FULLER = 3.0
# Distributions of a large fleet cost milliseconds to add up, and their tail moves slowly.
_TAIL_EVERY = 2.0
# How far back the log is compared with the counts, in seconds, and the least part of tries that it may hold.
_SAMPLING = 10.0
_RAREST = 0.001
# Samples it takes to know what is usual.
_TO_MISS = 20.0
# A client that reported nothing for so long is gone, and its spells with it.
_STALE = 5.0

_FAILURES = frozenset({Outcome.FAILED, Outcome.REFUSED, Outcome.RESET})


class EndpointSightings:
    """One endpoint of one model, in one life of its node."""

    def __init__(self) -> None:
        self.level = FadingMean(_NOW)
        self.seconds = FadingMean(_USUAL)
        self.latency = Histogram(_TAIL)
        self.fresh = 0
        self.answered = 0
        self.answered_at = -math.inf
        self.excused_at = -math.inf
        self.timed_at = -math.inf
        self.reported_at = -math.inf
        self.failures = FadingMean(_NOW)
        self.share = Share()
        self.standing: Standing | None = None
        self._spells: dict[str, tuple[Spell, float]] = {}
        self._under_way: dict[str, tuple[int, float]] = {}

    def judge(self, residual: float, at: float, weight: float = 1.0) -> None:
        """Take the residual of a try in."""
        self.level.add(residual, at, weight)
        self.fresh += 1

    def counted(self, counts: Counts) -> None:
        """Take one data plane's counts in."""
        if counts.succeeded:
            self.answered_at = max(self.answered_at, counts.at)
        if counts.client_id not in self._spells:
            self._spells = {client: kept for client, kept in self._spells.items() if counts.at - kept[1] < _STALE}
            self._under_way = {client: kept for client, kept in self._under_way.items() if client in self._spells}
        spell, _ = self._spells.get(counts.client_id, (Spell(), 0.0))
        spell = spell.counted(counts.issued, counts.succeeded, counts.under_way, counts.at)
        self._spells[counts.client_id] = (spell, counts.at)
        self._under_way[counts.client_id] = (counts.under_way, counts.at)
        self.reported_at = counts.at
        self.failures.add(1.0, counts.at, counts.failed)
        self.failures.add(0.0, counts.at, counts.succeeded)

    @property
    def out(self) -> bool:
        """True while it is out of rotation."""
        return self.standing is not None and self.standing.out

    def under_way(self, now: float) -> int:
        """Tries not ended yet, over all data planes."""
        return sum(count for count, at in self._under_way.values() if now - at < _STALE)

    def spell(self, now: float) -> Spell:
        """The time without an answer: as seen by the data plane that waits longest, since the last answer to any.

        A call that was taken away from it soon excuses it: a faster node had answered, or the caller had lost interest.
        """
        waiting = [(s.since, s.calls) for s, at in self._spells.values() if s.since is not None and now - at < _STALE]
        if not waiting:
            return Spell()
        since = max(min(since for since, _ in waiting), self.answered_at, self.excused_at)
        return Spell(since, sum(calls for _, calls in waiting))

    def observation(self, now: float, times_slower: float) -> Observation:
        """What is known of it now."""
        level = self.seconds.level(now)
        return Observation(
            seconds=level.mean,
            samples=level.count,
            times_slower=times_slower,
            failed=self.failures.level(now).mean,
            in_flight=self.under_way(now),
            latency_age=now - self.timed_at if level.count else None,
            report_age=None if self.reported_at == -math.inf else now - self.reported_at,
        )

    def take_fresh(self) -> int:
        """How many tries were judged since the last time this was asked."""
        fresh, self.fresh = self.fresh, 0
        return fresh


class ModelSightings:
    """One model."""

    def __init__(self) -> None:
        self.endpoints: dict[str, EndpointSightings] = {}
        self.hedging = Hedging()
        self._durations = Histogram(_TAIL)
        self._under_way = FadingMean(_USUAL)
        self._under_way_now = FadingMean(_NOW)
        self._long = math.inf
        self._tail = Distribution(0.0, ())
        self._tail_at = -math.inf
        self._classes: dict[int, FadingMean] = {}
        self._succeeded = FadingMean(_SAMPLING)
        self._logged = FadingMean(_SAMPLING)
        self._calls = FadingMean(_TAIL)
        self._extra = FadingMean(_TAIL)

    def counted(self, counts: Counts, endpoint: EndpointSightings) -> None:
        """Take one data plane's counts of an endpoint in."""
        self._succeeded.add(0.0, counts.at, weight=counts.succeeded)
        endpoint.counted(counts)

    def saw(self, seen: Try, endpoint: EndpointSightings) -> None:
        """Take one try in."""
        answered = seen.outcome in (Outcome.ANSWERED, Outcome.FAILED)
        if answered:
            endpoint.answered_at = max(endpoint.answered_at, seen.at)
        elif seen.outcome in (Outcome.CANCELLED, Outcome.TIMED_OUT) and seen.seconds < self._long:
            endpoint.excused_at = max(endpoint.excused_at, seen.at)
        if seen.outcome is Outcome.ANSWERED:
            endpoint.answered += 1
            self._durations.add(seen.seconds, seen.at)
            self._logged.add(0.0, seen.at)
        weight = 1.0 if seen.outcome is Outcome.ANSWERED else self._rarity(seen.at)
        self._count(seen, weight)
        if seen.stream:
            return
        usual = self._classes.setdefault(size_class(seen.request_bytes), FadingMean(_USUAL))
        level, logarithm = usual.level(seen.at), math.log(max(seen.seconds, 1e-6))
        residual = logarithm - level.mean
        known = level.count >= _KNOWN_CLASS
        match seen.outcome:
            case Outcome.ANSWERED:
                usual.add(logarithm, seen.at)
                endpoint.seconds.add(seen.seconds, seen.at)
                endpoint.timed_at = max(endpoint.timed_at, seen.at)
                endpoint.latency.add(seen.seconds, seen.at)
                if known:
                    endpoint.judge(residual, seen.at)
            case Outcome.CANCELLED | Outcome.TIMED_OUT:
                # It would have taken longer, nobody knows how much: that says something only of a try that already
                # took long. Left out, a slow endpoint whose calls are answered elsewhere would be known by its quickest
                # ones alone.
                endpoint.latency.add(seen.seconds, seen.at, weight)
                if known and residual + _GIVEN_UP > max(_GIVEN_UP, endpoint.level.level(seen.at).mean):
                    endpoint.judge(residual + _GIVEN_UP, seen.at, weight)
            case _:
                if known:
                    endpoint.judge(max(_FAILED_AS, residual), seen.at, weight)

    def keep(self, nodes: frozenset[str]) -> None:
        """Forget the endpoints of all other nodes."""
        self.endpoints = {node: endpoint for node, endpoint in self.endpoints.items() if node in nodes}

    def levels(self, now: float) -> dict[str, Level]:
        """How slow each endpoint is of late, by node_id."""
        return {node: endpoint.level.level(now) for node, endpoint in self.endpoints.items()}

    def observations(self, now: float) -> dict[str, Observation]:
        """What is known of each endpoint, by node_id."""
        compared = weights.compare(self.levels(now), {})
        slower = {node: math.exp(max(0.0, each.excess)) for node, each in compared.items()}
        # Nothing has come since one was found slow: then what was found holds.
        found = {node: each.share.ratio for node, each in self.endpoints.items() if not each.share.full}
        return {
            node: each.observation(now, {**found, **slower}.get(node, 0.0)) for node, each in self.endpoints.items()
        }

    def patience(self, now: float) -> float:
        """Seconds without an answer after which an endpoint is stuck; infinite while too little is known."""
        durations = Distribution.of([self._durations], now)
        if durations.count < _TO_MISS:
            return math.inf
        slowest = durations.quantile(0.99)
        self._long = stuck.long(slowest)
        return stuck.patience(slowest)

    def answering(self, since: float) -> tuple[str, ...]:
        """Two of the endpoints in rotation that answered since then, or as many as there are."""
        found = (node for node, each in self.endpoints.items() if each.answered_at >= since and not each.out)
        return tuple(itertools.islice(found, 2))

    def calls(self, nodes: frozenset[str], now: float) -> Calls:
        """The model's calls of late, at these nodes."""
        well = [e for node, e in self.endpoints.items() if node in nodes and e.share.full and e.standing is None]
        if now - self._tail_at >= _TAIL_EVERY:
            self._tail, self._tail_at = Distribution.of((e.latency for e in well), now), now
        calls, extra = self._calls.level(now).count, self._extra.level(now).count
        return Calls(
            self._tail.count, self._tail.quantile(0.99), len(well), calls, max(0.0, extra), self._busy(len(nodes), now)
        )

    def _busy(self, nodes: int, now: float) -> str:
        """Why its nodes have nothing to spare; empty when they have."""
        under_way = sum(endpoint.under_way(now) for endpoint in self.endpoints.values())
        usual = self._under_way.level(now)
        self._under_way.add(under_way, now)
        self._under_way_now.add(under_way, now)
        lately = self._under_way_now.level(now).mean
        slower = weights.best(self.levels(now).values())
        if slower is not None and slower > _SLOWER:
            return f"the best of its nodes take {math.exp(slower):.1f} times as long as usual"
        if usual.count >= _TO_MISS and lately > max(_FULLER * usual.mean, 2 * nodes):
            return f"{lately:.0f} calls are under way, usually {usual.mean:.0f}"
        return ""

    def _rarity(self, now: float) -> float:
        """Which part of the answered tries is in the log. It holds those that were not answered with preference, so
        each of them stands for so many fewer."""
        succeeded = self._succeeded.level(now).count
        return min(1.0, max(_RAREST, self._logged.level(now).count / succeeded)) if succeeded else 1.0

    def _count(self, seen: Try, weight: float) -> None:
        (self._calls if seen.attempt == 1 else self._extra).add(0.0, seen.at, weight)
        if seen.outcome in _FAILURES:
            # Each failure asks for one more try that is no hedge.
            self._extra.add(0.0, seen.at, -weight)


def size_class(size: int) -> int:
    """Requests of one class differ in size by no more than four times.

    >>> size_class(0), size_class(100), size_class(600_000)
    (0, 3, 10)
    """
    return size.bit_length() // 2
