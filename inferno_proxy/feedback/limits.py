"""Admission control: how many calls of a model may be under way, learned from how long tries take.

A fleet with more calls than it can execute makes them wait, and all of them ever longer. While tries at every endpoint
of a model take longer than is tolerated, calls are refused beyond a limit, which follows the ratio of the tolerated
time to the time taken, as in Netflix's Gradient2 and Envoy's adaptive concurrency. Unlike there, no traffic is held
back to learn the time without a queue, and there is no limit until there is an overload (docs/decisions/0019).
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from types import MappingProxyType

from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import Address
from inferno_proxy.supervisor.act import Act

# Besides its own execution a call may wait for two others, or for the model's ``max_wait`` if that is longer.
_OTHERS_BEFORE = 2.0
# An endpoint is judged by its newest tries: so many, no older than so many seconds, and no fewer than the least.
_NEWEST, _OLDEST, _LEAST = 16, 30.0, 5
# So many tries must have ended in a report for it to tell how long they take.
_LEAST_ENDED = 3
# The time without a queue is the least ever seen, which rises by this part of the difference with each look.
_RISE = 0.002
# The limit rises while the time is below this part of the tolerated one, and falls above it; by no more at a time than
# what shows before the next look.
_LITTLE = 0.7
_UP, _DOWN = 1.2, 1.4
# Looks (one for each report, two a second) at the lowest limit after which the time without a queue was a mistake.
_MISTAKEN_AFTER = 10
# Seconds with less than half of the limit under way, after which there is no limit any more.
_OVER_AFTER = 3.0
# Seconds after which a report no longer says what is under way, and an endpoint without a try is forgotten.
_FRESH = 1.2
_FORGOTTEN = 600.0


@dataclass(frozen=True, slots=True)
class Admission:
    """What holds for one model: ``max_wait`` is the seconds a call may wait for its turn; the limit is never below
    ``lowest``, which is what the nodes execute at once and as much waiting."""

    max_wait: float
    lowest: int


def admissions(at_once: Mapping[str, int], max_wait: Callable[[str], float]) -> Mapping[str, Admission]:
    """What holds for each model whose nodes execute so many calls at once. Models whose calls may wait for ever are not
    named, nor may those be that answer over a stream: their answers take as long as they take."""
    named = ((name, count, max_wait(name)) for name, count in at_once.items())
    return {name: Admission(wait, 2 * count) for name, count, wait in named if wait}


@dataclass(slots=True)
class _Endpoint:
    """The newest tries as (moment, seconds), and the seconds of a try without a queue; 0: not known yet."""

    newest: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_NEWEST))
    unqueued: float = 0.0

    def take(self, each: Try) -> None:
        """Take a try in. One that was given up tells how long it takes at least, and so counts only when that is long:
        left out, those who cannot wait would make a queue look short."""
        given_up = each.outcome in (Outcome.CANCELLED, Outcome.TIMED_OUT)
        if each.outcome is Outcome.ANSWERED or (given_up and 0 < 2 * self.unqueued < each.seconds):
            self.newest.append((each.at, each.seconds))

    def look(self, now: float, *, rise: float) -> float | None:
        """How long tries that end now took; None when too few have ended."""
        fresh = [seconds for at, seconds in self.newest if at > now - _OLDEST]
        if len(fresh) < _LEAST:
            return None
        found = median(fresh)
        self.unqueued = min(found, self.unqueued + (found - self.unqueued) * rise) if self.unqueued else found
        return found


@dataclass(frozen=True, slots=True)
class _Found:
    """One look at a model: seconds that a call takes, without a queue, and as is tolerated; calls under way and
    answered in a second. Relative to the tolerated time, at the best endpoint, where the next calls go: ``excess`` is
    what calls take that end now, ``looming`` what those will that begin now, as far as the first bears that out."""

    taken: float
    unqueued: float
    tolerated: float
    excess: float
    looming: float
    under_way: int
    a_second: float

    @property
    def evidence(self) -> str:
        """In words."""
        return (
            f"{self.under_way} calls under way, one takes {self.taken:.3f} s, {self.unqueued:.3f} s without a queue, "
            f"{self.a_second:.0f} are answered a second"
        )


@dataclass(slots=True)
class _Shedding:
    """``limit`` for all data planes together. ``since``: when it began; ``calm_since``: since when little is under way;
    ``lowest_for``: looks at the lowest limit in a row while tries take too long."""

    limit: float
    since: float
    calm_since: float | None = None
    lowest_for: int = 0


class Limits:
    """Which models are overloaded, and the limit of each: calls under way at a time through one data plane."""

    def __init__(self) -> None:
        self.limits: Mapping[str, int] = MappingProxyType({})
        self._endpoints: dict[str, dict[Address, _Endpoint]] = defaultdict(dict)
        self._counts: dict[str, dict[tuple[str, Address], Counts]] = defaultdict(dict)
        self._shedding: dict[str, _Shedding] = {}

    def judge(
        self, tries: Iterable[Try], counts: Iterable[Counts], admissions: Mapping[str, Admission], now: float
    ) -> list[Act]:
        """Take new observations in; what begins and ends at ``now`` (monotonic seconds). Models that ``admissions``
        does not name have no limit."""
        for each in tries:
            if not each.stream:
                self._endpoints[each.model].setdefault(each.address, _Endpoint()).take(each)
        for count in counts:
            self._counts[count.model][count.client_id, count.address] = count
        self._forget(now)
        acts: list[Act] = []
        limits: dict[str, int] = {}
        for model in sorted(admissions.keys() & (self._endpoints.keys() | self._shedding.keys())):
            acts += self._of_model(model, admissions[model], now)
            if model in self._shedding:
                planes = {count.client_id for count in self._counts[model].values()}
                limits[model] = math.ceil(self._shedding[model].limit / max(1, len(planes)))
        self._shedding = {model: state for model, state in self._shedding.items() if model in limits}
        self.limits = MappingProxyType(limits)
        return acts

    def _forget(self, now: float) -> None:
        for model in list(self._counts):
            kept = {key: each for key, each in self._counts[model].items() if each.at > now - _FRESH}
            self._counts[model] = kept
        for model, endpoints in list(self._endpoints.items()):
            known = {
                where: each
                for where, each in endpoints.items()
                if each.newest and each.newest[-1][0] > now - _FORGOTTEN
            }
            self._endpoints[model] = known
        self._counts = defaultdict(dict, {model: kept for model, kept in self._counts.items() if kept})
        self._endpoints = defaultdict(dict, {model: known for model, known in self._endpoints.items() if known})

    def _of_model(self, model: str, admission: Admission, now: float) -> list[Act]:
        state = self._shedding.get(model)
        found = self._look(model, admission, now, rise=0.0 if state else _RISE)
        if state is None:
            if found.looming <= 1 or found.under_way <= admission.lowest:
                return []
            limit = max(float(admission.lowest), found.a_second * found.tolerated)
            self._shedding[model] = _Shedding(limit, now)
            cause, effect = (
                f"model {model} gets more calls than it can do",
                f"more than {limit:.0f} at a time are refused",
            )
            return [Act("OVERLOAD_SHEDDING", model, cause, found.evidence, effect)]
        if found.under_way > state.limit / 2:
            state.calm_since = None
        elif state.calm_since is None:
            state.calm_since = now
        elif now - state.calm_since >= _OVER_AFTER:
            del self._shedding[model]
            cause = f"model {model} gets no more calls than it can do"
            return [Act("OVERLOAD_OVER", model, cause, found.evidence, "no call is refused", now - state.since)]
        # What had queued up before there was a limit says nothing about it.
        if found.excess and found.looming and found.under_way <= state.limit * 1.2:
            self._follow(model, state, found, admission.lowest)
        return []

    def _look(self, model: str, admission: Admission, now: float, *, rise: float) -> _Found:
        counts = self._counts[model].values()
        seen = []
        for address, endpoint in self._endpoints[model].items():
            taken = endpoint.look(now, rise=rise)
            if taken is None:
                continue
            here = [count for count in counts if count.address == address]
            ahead = taken
            if sum(count.succeeded for count in here) >= _LEAST_ENDED:
                # Little's law tells what a call that begins now will take, where those that end now tell of the past.
                # Streams that stay open make it too long: what is seen must at least bear out half of it.
                # Calls that run out of time end as failures, and are no work done.
                rate = sum(count.succeeded / count.seconds for count in here)
                ahead = min(2 * taken, sum(count.under_way for count in here) / rate)
            tolerated = endpoint.unqueued + max(admission.max_wait, _OTHERS_BEFORE * endpoint.unqueued)
            seen.append((taken, endpoint.unqueued, tolerated, ahead))
        return _Found(
            taken=median(taken for taken, _, _, _ in seen) if seen else 0.0,
            unqueued=median(unqueued for _, unqueued, _, _ in seen) if seen else 0.0,
            tolerated=median(tolerated for _, _, tolerated, _ in seen) if seen else 0.0,
            excess=min((taken / tolerated for taken, _, tolerated, _ in seen), default=0.0),
            looming=min((ahead / tolerated for _, _, tolerated, ahead in seen), default=0.0),
            under_way=sum(count.under_way for count in counts),
            a_second=sum(count.succeeded / count.seconds for count in counts),
        )

    def _follow(self, model: str, state: _Shedding, found: _Found, lowest: int) -> None:
        """Move the limit to where a call takes the tolerated time."""
        surely, at_most = sorted((found.excess, found.looming))
        state.lowest_for = state.lowest_for + 1 if state.limit <= lowest and surely > 1 else 0
        if state.lowest_for >= _MISTAKEN_AFTER:
            for endpoint in self._endpoints[model].values():
                endpoint.unqueued *= 2
            state.lowest_for = 0
        if surely > 1:
            state.limit = max(float(lowest), state.limit / min(surely, _DOWN))
        elif at_most < _LITTLE:
            state.limit *= min(1 / at_most, _UP)
