"""Spend per request that is out of the ordinary: a robust test of each stretch of ten minutes against the day before.

Raw spend follows demand, so it says little; spend per request does not. Two things move it every day all the same, and
both are taken out rather than alarmed about:

- Nodes outlive the demand they were started for (autoscalers wait before they stop one), so after each burst the whole
  fleet's spend per request rises for a while. What nodes cost is therefore held against the highest demand of the last
  hour, for which the fleet was sized. A model's or a team's own share of the work has no such lag and is held against
  the stretch's own demand.
- Some series are rougher than others. The usual value is the median of the last day and the usual spread its median
  absolute deviation (times 1.4826, to read like a standard deviation: Iglewicz and Hoaglin, "How to Detect and Handle
  Outliers", ASQC 1993); values are logarithms, so that twice and half are equally far away.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

# Minutes of a stretch.
STRETCH = 10
# A day of stretches is what is usual; with less than a quarter of one nothing is said.
_HISTORY, _ENOUGH = 144, 36
# Stretches of the hour whose highest demand the fleet is held against.
_HOUR = 6
# Below so many requests in the stretch whose demand counts, a mean says nothing.
_FEWEST = 30
# Half as much again: less is not worth waking somebody for.
_LEAST = math.log(1.5)
_SPREADS = 3.0
_TO_DEVIATION = 1.4826


class Stretch(NamedTuple):
    """What something cost in the ten minutes from ``minute`` on, how many requests it served, and for how much node
    time it paid."""

    minute: int
    cost_micros: int
    requests: int
    paid_micros: int


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A stretch that cost far more than usual for its demand, or for its node time.

    ``usual_minute`` is where a usual stretch began: the newest of those that came closest to it.
    """

    stretch: Stretch
    # What the stretch would have cost as usual.
    usual_micros: int
    usual_minute: int

    @property
    def times(self) -> float:
        """How many times the usual it cost."""
        return self.stretch.cost_micros / max(1, self.usual_micros)


class Usual:
    """What was usual in the last day of some measure, and whether something is far above it."""

    def __init__(self) -> None:
        # Minute and logarithm of each stretch.
        self._known: deque[tuple[int, float]] = deque(maxlen=_HISTORY)

    def see(self, stretch: Stretch, amount: int) -> Anomaly | None:
        """Judge what a stretch cost for an amount of something by those before it, and remember it."""
        value = math.log(stretch.cost_micros / amount)
        found = self._judge(stretch, amount, value) if len(self._known) >= _ENOUGH else None
        self._known.append((stretch.minute, value))
        return found

    def _judge(self, stretch: Stretch, amount: int, value: float) -> Anomaly | None:
        values = [known for _, known in self._known]
        usual = _median(values)
        spread = _TO_DEVIATION * _median([abs(each - usual) for each in values])
        if value - usual <= max(_LEAST, _SPREADS * spread):
            return None
        closest, _ = min(reversed(self._known), key=lambda known: round(abs(known[1] - usual), 1))
        return Anomaly(stretch, round(math.exp(usual) * amount), closest)


class SpendDetector:
    """Tells of each stretch, in their order, whether its spend per request is out of the ordinary.

    Args:
        nodes: The cost is that of whole nodes, idle time included: it follows the demand of the last hour, and what an
            hour of a node costs is watched as well.
    """

    def __init__(self, *, nodes: bool) -> None:
        self._nodes = nodes
        self._requests: deque[int] = deque(maxlen=_HOUR if nodes else 1)
        self._per_request, self._per_time = Usual(), Usual()

    def see(self, stretch: Stretch) -> Anomaly | None:
        """Judge a stretch by those before it, and remember it."""
        self._requests.append(stretch.requests)
        demand = max(self._requests)
        if demand < _FEWEST or stretch.cost_micros <= 0:
            return None
        by_request = self._per_request.see(stretch, demand)
        by_time = self._per_time.see(stretch, stretch.paid_micros) if self._nodes and stretch.paid_micros > 0 else None
        return by_request or by_time


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
