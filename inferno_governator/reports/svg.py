"""Plots as inline SVG: bars over time, stacked, with axes that people can read. No script, nothing from the network.

Colours are CSS classes (of the parts, and ``axis`` and ``grid``), so that the page's style sheet decides them for light
and dark. Every plot has a title and a description for screen readers; its figures stand in a table beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 960, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 10, 12, 34
_INNER_WIDTH, _INNER_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
# Labels below the bars at most, and grid lines at least.
_MOST_LABELS = 8
_FEWEST_TICKS = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """What stands at one place: a label, parts from the bottom up, and a sentence for who points at it."""

    label: str
    parts: Sequence[float]
    sentence: str


@dataclass(frozen=True, slots=True)
class About:
    """What a plot is called in its page (unique there), what it shows, and what there is to see, for who cannot."""

    identity: str
    title: str
    description: str


def bars(about: About, each: Sequence[Bar], classes: Sequence[str], show: Callable[[float], str]) -> str:
    """A plot of bars, none negative.

    Args:
        about: What it shows.
        each: The bars, in order.
        classes: Of the parts of each bar.
        show: Writes a value of the axis.
    """
    ticks = ticks_up_to(max((sum(bar.parts) for bar in each), default=0.0))
    top = ticks[-1]
    width = _INNER_WIDTH / max(1, len(each))
    body = [_grid(tick, top, show) for tick in ticks]
    for at, bar in enumerate(each):
        body.append(_bar(bar, classes, _LEFT + at * width, width, top))
    every = -(-len(each) // _MOST_LABELS) if each else 1
    body += [_label(bar.label, _LEFT + (at + 0.5) * width) for at, bar in enumerate(each) if at % every == 0]
    name = about.identity
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(about.title)}</title><desc id="{name}-d">{escape(about.description)}</desc>'
        f"{''.join(body)}</svg>"
    )


def ticks_up_to(most: float) -> list[float]:
    """Values for grid lines from zero to at least ``most``, in steps of 1, 2 or 5 times a power of ten.

    >>> ticks_up_to(87.0), ticks_up_to(0.0)
    ([0.0, 20.0, 40.0, 60.0, 80.0, 100.0], [0.0, 1.0])
    """
    if most <= 0:
        return [0.0, 1.0]
    power = 1.0
    while power > most / _FEWEST_TICKS:
        power /= 10
    while power * 10 <= most / _FEWEST_TICKS:
        power *= 10
    step = next(power * factor for factor in (5, 2, 1) if power * factor <= most / _FEWEST_TICKS)
    count = -int(-most // step)
    return [step * at for at in range(count + 1)]


def _grid(tick: float, top: float, show: Callable[[float], str]) -> str:
    y = _TOP + _INNER_HEIGHT * (1 - tick / top)
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="axis" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(show(tick))}</text>'
    )


def _bar(bar: Bar, classes: Sequence[str], x: float, width: float, top: float) -> str:
    gap = min(4.0, width * 0.15)
    y, rectangles = _TOP + float(_INNER_HEIGHT), []
    for name, part in zip(classes, bar.parts, strict=True):
        height = _INNER_HEIGHT * part / top
        y -= height
        if height:
            place = f'x="{x + gap / 2:.2f}" y="{y:.2f}" width="{width - gap:.2f}" height="{height:.2f}"'
            rectangles.append(f'<rect class="{name}" {place}/>')
    return f"<g><title>{escape(bar.sentence)}</title>{''.join(rectangles)}</g>"


def _label(text: str, x: float) -> str:
    return f'<text class="axis" x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(text)}</text>'
