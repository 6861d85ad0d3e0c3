"""Brown-outs: every endpoint of a model fails, so a second try of a call helps nobody and adds to the load.

Three further tries of each call are four times the load on a fleet that has too much of it already. Envoy's own bounds
on retries count retries under way, not retries: where a failure takes a millisecond they bound nothing
(docs/decisions/0018). So the tries that data planes report are judged here, and retries end while no endpoint is well.
One endpoint that is well is reason enough for retries: they reach it.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from inferno_proxy.feedback.observed import Counts
from inferno_proxy.fleet import Address
from inferno_proxy.supervisor.act import Act

# An endpoint of which a smaller part of the tries fails is well. With this part failing everywhere, three retries make
# 1 + p + p^2 + p^3 = 1.18 tries of a call; from here on it would be more than the promised 1.2.
_WELL = 0.15
# Fewer failures than this in the window (seconds) are no brown-out, whatever their share.
_LEAST_FAILURES = 10
_WINDOW = 1.0
# Seconds: retries return after an endpoint has been well for so long, or after nobody has called for so long.
_WELL_FOR = 1.0
_QUIET_FOR = 5.0


@dataclass(frozen=True, slots=True)
class _BrownOut:
    """Monotonic seconds: when it began, when it was last seen, and since when an endpoint is well (None: none is)."""

    since: float
    seen: float
    well_since: float | None = None


class BrownOuts:
    """Which models are browned out, from the counts of all data planes."""

    def __init__(self) -> None:
        self._counts: deque[Counts] = deque()
        self._under_way: dict[tuple[str, str, Address], int] = {}
        self._models: dict[str, _BrownOut] = {}

    @property
    def models(self) -> frozenset[str]:
        """The models whose calls are tried once only."""
        return frozenset(self._models)

    def judge(self, counts: Iterable[Counts], now: float) -> list[Act]:
        """Take new counts in; what begins and ends at ``now`` (monotonic seconds)."""
        self._counts.extend(map(self._burdens, counts))
        while self._counts and self._counts[0].at <= now - _WINDOW:
            self._counts.popleft()
        # An endpoint that was well a moment ago and gets no more calls says nothing: only newest reports count.
        newest = {each.client_id: each.at for each in self._counts}
        tries: dict[str, dict[Address, tuple[int, int]]] = defaultdict(dict)
        failures = Counter[str]()
        for each in self._counts:
            failures[each.model] += each.failed
            if each.at == newest[each.client_id]:
                failed, ended = tries[each.model].get(each.address, (0, 0))
                tries[each.model][each.address] = (failed + each.failed, ended + each.failed + each.succeeded)
        acts = []
        for model in sorted(failures.keys() | self._models.keys()):
            endpoints = [found for found in tries[model].values() if found[1]]
            acts += self._of_model(model, endpoints, enough=failures[model] >= _LEAST_FAILURES, now=now)
        return acts

    def _burdens(self, counts: Counts) -> Counts:
        """The same with failures that burdened the node alone: data planes also count as failed what they never issued,
        for want of a connection or beyond a limit of ours. What was issued is answered, fails or is still under way."""
        key = (counts.client_id, counts.model, counts.address)
        before = self._under_way.pop(key, 0)
        if counts.under_way:
            self._under_way[key] = counts.under_way
        at_most = max(0, counts.issued + before - counts.succeeded - counts.under_way)
        return replace(counts, failed=min(counts.failed, at_most))

    def _of_model(self, model: str, endpoints: list[tuple[int, int]], *, enough: bool, now: float) -> list[Act]:
        """``endpoints``: failed and ended tries of each endpoint that had any; ``enough`` failed to say something."""
        state = self._models.get(model)
        failed, ended = sum(f for f, _ in endpoints), sum(n for _, n in endpoints)
        best = min((f / n for f, n in endpoints), default=0.0)
        evidence = (
            f"{failed} of {ended} tries failed at {len(endpoints)} endpoints of late, {best:.0%} at the best of them"
        )
        if best >= _WELL and (state is not None or enough):
            self._models[model] = _BrownOut(state.since if state else now, now)
            if state is None:
                cause = f"every endpoint of model {model} fails"
                return [Act("BROWN_OUT", model, cause, evidence, "calls that fail are not tried again")]
        elif state is not None:
            well_since = (state.well_since or now) if endpoints else None
            self._models[model] = _BrownOut(state.since, state.seen, well_since)
            if now - state.seen >= _QUIET_FOR or (well_since is not None and now - well_since >= _WELL_FOR):
                del self._models[model]
                cause = f"an endpoint of model {model} is well again" if endpoints else f"nobody calls model {model}"
                effect = "calls that fail are tried again"
                return [Act("BROWN_OUT_OVER", model, cause, evidence, effect, now - state.since)]
        return []
