"""What became of models' requests, minute by minute: from what proxies counted, else from what nodes did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inferno_governator.analysis.items import Item
from inferno_governator.requests import RequestUse, slower_than
from inferno_governator.watch.burn_rates import LONGEST, Outcome
from inferno_governator.watch.objective import Objective

_HOUR = 60


class OutcomeBook:
    """Outcomes of each model with an objective, the last three days of them: minutes, and hours where they are older.

    Proxies see how long each request took and which ones no node answered, so where they report a model, their word
    counts; nodes know the mean of a stretch alone, and all its requests are slow when that is.
    """

    def __init__(self, objectives: Mapping[str, Objective]) -> None:
        self._objectives = objectives
        self._outcomes: dict[tuple[str, int], Outcome] = {}

    def replace(self, start: int, end: int, items: Iterable[Item], uses: Iterable[RequestUse]) -> None:
        """Take what is known of a stretch now in the place of what was; ``start`` and ``end`` are minutes."""
        for key in [key for key in self._outcomes if start <= key[1] < end or key[1] < end - LONGEST - _HOUR]:
            del self._outcomes[key]
        seen: dict[tuple[str, int], list[int]] = {}
        for use in uses:
            if objective := self._objectives.get(use.model):
                sums = seen.setdefault((use.model, use.start_minute), [use.minutes, 0, 0, 0])
                sums[1] += use.requests + use.server_errors + use.refused
                sums[2] += use.server_errors + use.refused
                if objective.latency_micros:
                    sums[3] += round(slower_than(use.histogram, objective.latency_micros))
        worked: dict[tuple[str, int], list[int]] = {}
        for item in items:
            if item.model in self._objectives:
                sums = worked.setdefault((item.model, item.start_minute), [item.minutes, 0, 0, 0, 0])
                for at, value in enumerate((item.requests, item.errors, item.request_micros, item.queue_micros)):
                    sums[at + 1] += value
        for model, minute in seen.keys() | worked.keys():
            key = (model, minute)
            self._outcomes[key] = _outcome(self._objectives[model], minute, seen.get(key), worked.get(key))

    def of(self, model: str) -> list[Outcome]:
        """The outcomes of a model, in no order."""
        return [outcome for (name, _), outcome in self._outcomes.items() if name == model]


def _outcome(objective: Objective, minute: int, seen: list[int] | None, worked: list[int] | None) -> Outcome:
    _, answered, errors, latency, queue = worked or [0] * 5
    if seen:
        minutes, requests, failed, slow = seen
    else:
        minutes, requests, failed = (worked or [1])[0], answered + errors, errors
        limit = objective.latency_micros
        slow = answered if limit and answered and latency > limit * answered else 0
    waited = objective.queue_micros and answered and queue > objective.queue_micros * answered
    # A request is bad once: what is left of those that were neither failed nor slow has waited.
    queued = max(0, requests - failed - slow) if waited else 0
    return Outcome(minute, minutes, requests, failed, slow, queued)
