"""Figures and names as reports show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from inferno_governator.analysis.breakdown import Dimension, Line
from inferno_governator.analysis.items import Purpose
from inferno_governator.analysis.periods import Period
from inferno_governator.money import apportion

_SIGNIFICANT = 4
_NANOS_PER_DOLLAR = 1_000_000_000
_MICROS_PER_DOLLAR = 1_000_000
MINUS = "\N{MINUS SIGN}"
_UNUSED = "(commitment unused)"
_TITLES = {Dimension.GPU: "gpu type", Dimension.INSTANCE: "instance type"}


def dollars(micros: int, unit: int, *, signed: bool = False) -> str:
    """An amount that was rounded to a unit (micro-dollars), with as many places as the unit has.

    >>> dollars(12_340_000, 10_000), dollars(-65_520, 10, signed=True), dollars(0, 10_000, signed=True)
    ('$12.34', '\N{MINUS SIGN}$0.06552', '$0.00')
    """
    places = len(str(_MICROS_PER_DOLLAR // unit)) - 1
    whole, rest = divmod(abs(micros), _MICROS_PER_DOLLAR)
    sign = MINUS if micros < 0 else "+" if signed and micros else ""
    return f"{sign}${whole:,}.{rest:06d}"[: len(sign) + len(f"${whole:,}.") + places]


def unit_cost(nanos: int | None) -> str:
    """Billionths of a dollar with four significant digits, or to the cent where that says more.

    >>> unit_cost(1_234_567), unit_cost(12_345_678_901), unit_cost(0), unit_cost(None)
    ('$0.001235', '$12.35', '$0', '-')
    """
    if nanos is None:
        return "-"
    if nanos == 0:
        return "$0"
    places = min(9, max(2, 9 + _SIGNIFICANT - len(str(nanos))))
    unit = 10 ** (9 - places)
    shown = (2 * nanos + unit) // (2 * unit) * unit
    whole, rest = divmod(shown, _NANOS_PER_DOLLAR)
    return f"${whole:,}." + f"{rest:09d}"[:places]


def shares(costs: Sequence[int]) -> list[str]:
    """Each cost's share of their sum, in per cent with one place; they add up to 100.0.

    >>> shares([1, 1, 1])
    ['33.4 %', '33.3 %', '33.3 %']
    """
    if sum(costs) <= 0:
        return ["-"] * len(costs)
    # The parts of costs below zero are below zero.
    return [f"{MINUS if part < 0 else ''}{abs(part) // 10}.{abs(part) % 10} %" for part in apportion(1000, costs)]


def percent(part: int | Fraction, whole: int = 1) -> str:
    """A share in per cent with one place; of nothing it is a dash."""
    return f"{float(Fraction(part) * 100 / whole):.1f} %" if whole else "-"


def count(number: int) -> str:
    """A count with its thousands apart."""
    return f"{number:,}"


def title(dimension: Dimension) -> str:
    """A dimension as a column's title."""
    return _TITLES.get(dimension, dimension.value)


def labels(line: Line, width: int) -> list[str]:
    """What a line is called in each of ``width`` dimensions."""
    if line.others:
        names = {Purpose.IDLE: "(idle)", Purpose.OVERHEAD: "(overhead)", Purpose.UNUSED: _UNUSED}
        own = names.get(line.purpose or Purpose.WORK, f"({line.others} others)")
        return [own, *[""] * (width - 1)]
    if line.purpose is Purpose.UNUSED:
        # Also where it has a name in every dimension: that is a region's, or a day's, and not its own.
        told = [value or _UNUSED for value in line.values]
        return told if _UNUSED in told else [*told[:-1], f"{told[-1]} {_UNUSED}"]
    absent = f"({line.purpose.value})" if line.purpose in (Purpose.IDLE, Purpose.OVERHEAD) else "(unknown)"
    return [value or absent for value in line.values]


def name(line: Line) -> str:
    """What a line is called, in one piece."""
    # Of a line without work, every dimension of work says the same.
    return ", ".join(dict.fromkeys(label for label in labels(line, len(line.values)) if label)) or "all"


def moment(minute: int) -> str:
    """A minute, in UTC.

    >>> moment(29_700_000)
    '2026-06-21 00:00'
    """
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%d %H:%M")


def span(over: Period) -> str:
    """A period, in UTC."""
    return f"{moment(over.start_minute)} to {moment(over.end_minute)} UTC"
