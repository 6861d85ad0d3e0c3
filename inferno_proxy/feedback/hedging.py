"""When a call without an answer is worth a second try elsewhere, and when that would make matters worse. Pure.

The delay follows the slowest hundredth of calls at healthy endpoints, so about one call in a hundred is sent twice,
whatever mix of sizes the calls have. What that costs is measured, and over budget it ends (docs/decisions/0017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

# A quantile of the slowest hundredth needs that many samples.
_SAMPLES = 200.0
_TOO_FEW = 50.0
_FLOOR = 0.005
_STEP = 1.25
# So many second tries at least before their share means anything.
_HEDGES = 5.0
_FIRST_WAIT = 10.0
_LONGEST_WAIT = 120.0
_QUIET = 60.0


@dataclass(frozen=True, slots=True)
class Calls:
    """A model's calls of late: ``samples`` durations with their ``slowest`` hundredth in seconds, over ``endpoints``
    healthy endpoints; of ``calls``, ``hedges`` were sent twice without a failure before. ``busy`` says why the fleet
    has nothing to spare; empty when it has."""

    samples: float
    slowest: float
    endpoints: int
    calls: float
    hedges: float
    busy: str = ""


@dataclass(frozen=True, slots=True)
class Hedging:
    """A model's hedging: ``after`` seconds, or 0 while closed. ``changed`` is when it opened or closed last (monotonic
    seconds), ``wait`` how long it stays closed, ``why`` what closed it."""

    after: float = 0.0
    changed: float = -math.inf
    wait: float = 0.0
    why: str = ""


def step(hedging: Hedging, calls: Calls, budget: float, now: float) -> Hedging:
    """Hedging after one more look. ``budget``: the part of calls that may be sent twice, 0 for none."""
    if hedging.after:
        if why := _against(calls, budget):
            again = now - hedging.changed < _QUIET
            wait = min(_LONGEST_WAIT, 2 * hedging.wait) if again and hedging.wait else _FIRST_WAIT
            return Hedging(0.0, now, wait, why)
        return replace(hedging, after=delay(calls.slowest, hedging.after))
    if now - hedging.changed < hedging.wait or calls.samples < _SAMPLES or _against(calls, budget):
        return hedging
    return Hedging(delay(calls.slowest), now, hedging.wait)


def delay(slowest: float, current: float = 0.0) -> float:
    """Seconds in steps of a quarter, rounded up; a step down only when the way is clear for two.

    >>> delay(0.001), delay(0.03), delay(0.0252, current=0.030517578125)
    (0.005, 0.037253, 0.030518)
    """
    wanted = max(_FLOOR, slowest)
    if current and current / _STEP**2 < wanted <= current:
        return round(current, 6)
    steps = math.ceil(math.log(wanted / _FLOOR) / math.log(_STEP) - 1e-9)
    return round(_FLOOR * _STEP**steps, 6)


def _against(calls: Calls, budget: float) -> str:
    """Why calls should not be sent twice, as half a sentence; empty when they may be."""
    if calls.busy:
        return calls.busy
    if calls.endpoints < 2:
        return "no second endpoint is well"
    if calls.samples < _TOO_FEW:
        return "there are too few calls to know how long they take"
    if calls.hedges >= _HEDGES and calls.hedges > budget * calls.calls:
        return f"{100 * calls.hedges / max(calls.calls, 1):.1f} % of calls were sent twice, {100 * budget:g} % may be"
    return ""
