"""The gate: what else than the last value may forecast a model's demand, by how it did on that demand before.

At times spread over the past each candidate is given what was known then, and held against what came. Its expectation
becomes a quantile by how what came differed from it at the times before. A candidate is chosen only where it beats the
last value by a margin both in what it expects (WAPE: the sum of absolute errors over that of demand) and as a quantile
(pinball loss, over demand): on real traces little does so ten minutes ahead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from inferno_governator.forecast.candidates import LAST, Candidate, Series
from inferno_governator.forecast.growth import growth, quantile_of
from inferno_governator.forecast.settings import ForecastSettings

# Times before the first that is judged, from which the first quantile is taken.
_LEARNT = 24


@dataclass(frozen=True, slots=True)
class Score:
    """How a candidate did, and why it was chosen or was not. Errors are shares of demand; 0 where none was judged."""

    name: str
    wape: float
    pinball: float
    judged: int
    chosen: bool
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which candidate forecasts, how what came differed from what it expected, and all scores, the last value first."""

    candidate: Candidate
    ratios: Series
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    candidate: Candidate
    points: Series
    actual: Series
    ratios: Series
    wape: float
    pinball: float

    @property
    def judged(self) -> int:
        return max(0, len(self.points) - _LEARNT)


def choose(series: Series, steps: int, settings: ForecastSettings, among: Iterable[Candidate]) -> Choice:
    """Who forecasts a model's demand so many stretches ahead.

    Args:
        series: The rate of each stretch that has ended, oldest first; those without a request are zeros.
        steps: Stretches ahead, at least one.
        settings: The quantile, the margin, and how often the past is asked.
        among: Candidates besides the last value.
    """
    base = _run(series, steps, settings, LAST, LAST.least)
    runs = [(each, _run(series, steps, settings, each, each.least)) for each in among]
    # Each is held against the last value at the times at which it could speak.
    pairs = [(run, _run(series, steps, settings, LAST, each.least)) for each, run in runs]
    winners = [run for run, last in pairs if _wins(run, last, settings.margin)]
    winner = min(winners, key=lambda run: run.pinball, default=base)
    scores = [_score(base, base, winner, settings)] + [_score(run, last, winner, settings) for run, last in pairs]
    return Choice(winner.candidate, winner.ratios, tuple(scores))


def ahead(series: Series, now: float, boot_seconds: float, settings: ForecastSettings, choice: Choice) -> float:
    """The rate that demand is expected to stay under when a node that is started now serves: each bound that it is the
    lowest of holds in the share of cases that was asked for.

    Args:
        series: As for :func:`choose`.
        now: The rate of the last minutes, from which the last value grows.
        boot_seconds: From the call that starts a node to its first traffic.
        settings: The quantile.
        choice: What the gate chose.
    """
    if choice.candidate is LAST or len(series) < choice.candidate.least:
        ahead = boot_seconds / settings.stretch_seconds
        return growth(series, ahead, settings.quantile, settings.growth_stretches).of(now)
    point = choice.candidate.ahead(series, steps(boot_seconds, settings.stretch_seconds))
    return point * quantile_of(choice.ratios, settings.quantile)


def steps(boot_seconds: float, stretch_seconds: float) -> int:
    """Whole stretches until a node that is started now serves, at least one.

    >>> steps(900, 600), steps(300, 600), steps(0, 600)
    (2, 1, 1)
    """
    return max(1, -int(-boot_seconds // stretch_seconds))


def _run(series: Series, steps: int, settings: ForecastSettings, candidate: Candidate, least: int) -> _Run:
    newest = len(series) - 1 - steps
    oldest = max(least - 1, newest - settings.spacing * (settings.origins - 1))
    origins = list(range(newest, oldest - 1, -settings.spacing))[::-1]
    points = np.array([candidate.ahead(series[: origin + 1], steps) for origin in origins], dtype=np.float64)
    actual = series[[origin + steps for origin in origins]] if origins else np.zeros(0)
    ratios = actual[points > 0] / points[points > 0]
    total = float(actual[_LEARNT:].sum())
    if total <= 0:
        return _Run(candidate, points, actual, ratios, 0.0, 0.0)
    # Of each time only what was known before it: a result comes steps later, and times lie closer together than that.
    late = -(-steps // settings.spacing)
    errors, losses = 0.0, 0.0
    for at in range(_LEARNT, len(points)):
        before = points[: at - late + 1] > 0
        known = actual[: at - late + 1][before] / points[: at - late + 1][before]
        said = float(points[at]) * quantile_of(known, settings.quantile)
        gap = float(actual[at]) - said
        losses += max(settings.quantile * gap, (settings.quantile - 1) * gap)
        errors += abs(float(actual[at]) - float(points[at]))
    return _Run(candidate, points, actual, ratios, errors / total, losses / total)


def _wins(run: _Run, last: _Run, margin: float) -> bool:
    if run.judged < _LEARNT or last.pinball <= 0:
        return False
    return run.wape < (1 - margin) * last.wape and run.pinball < (1 - margin) * last.pinball


def _score(run: _Run, last: _Run, winner: _Run, settings: ForecastSettings) -> Score:
    chosen = run.candidate is winner.candidate
    name = run.candidate.name
    if run is last:
        why = "nothing else beats it" if chosen else f"{winner.candidate.name} beats it"
    elif run.judged < _LEARNT:
        why = f"it was judged {run.judged} times, and {_LEARNT} are needed: it wants more history"
    elif not _wins(run, last, settings.margin):
        why = (
            f"it errs by {run.wape:.1%} of demand where the last value errs by {last.wape:.1%}, and its quantile loses "
            f"{run.pinball:.2%} where that of the last value loses {last.pinball:.2%}: both must be "
            f"{settings.margin:.0%} less"
        )
    else:
        why = f"it errs by {run.wape:.1%} of demand where the last value errs by {last.wape:.1%}"
        why += "" if chosen else f"; the quantile of {winner.candidate.name} loses less"
    return Score(name, run.wape, run.pinball, run.judged, chosen, why)
