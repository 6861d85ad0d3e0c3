"""What one request, 1,000 tokens or 1,000 inferences cost, and money shown so that rounded lines still add up.

A unit cost is the quotient of two whole numbers, so it is rounded where it is shown and never added up: half up, to a
billionth of a dollar (``nanos``), because a request may cost less than a micro-dollar.
"""

from __future__ import annotations

from collections.abc import Sequence

_NANOS_PER_MICRO = 1_000
_CENT_MICROS = 10_000


def nanos_per(cost_micros: int, count: int, per: int = 1) -> int | None:
    """Cost of ``per`` units in billionths of a dollar, rounded half up; None without any unit.

    >>> nanos_per(1_000_000, 3), nanos_per(500, 1_000_000, 1_000), nanos_per(7, 0)
    (333333333, 500, None)
    """
    if not count:
        return None
    return half_up(cost_micros * per * _NANOS_PER_MICRO, count)


def rounded(amounts: Sequence[int], unit: int, total: int | None = None) -> list[int]:
    """Round amounts to multiples of ``unit`` so that they add up to their rounded sum, or to ``total``.

    The sum is rounded half up; a given ``total`` is a multiple of the unit less than one unit from it. Each amount is
    rounded down, and what is left goes, one unit each, to the largest remainders, the earlier one where they are equal.

    >>> rounded([3_334, 3_333, 3_333], 10_000), rounded([15, -5], 10)
    ([10000, 0, 0], [20, -10])
    """
    units = half_up(sum(amounts), unit) if total is None else total // unit
    whole = [amount // unit for amount in amounts]
    left = units - sum(whole)
    by_remainder = sorted(range(len(amounts)), key=lambda at: (-(amounts[at] % unit), at))
    for at in by_remainder[: max(left, 0)]:
        whole[at] += 1
    for at in by_remainder[len(amounts) + min(left, 0) :]:
        whole[at] -= 1
    return [each * unit for each in whole]


def half_up(amount: int, unit: int) -> int:
    """How many units an amount is, rounded half up.

    >>> half_up(15_000, 10_000), half_up(-15_000, 10_000)
    (2, -1)
    """
    return (2 * amount + unit) // (2 * unit)


def unit_for(total_micros: int) -> int:
    """The unit in which a bill is shown: cents, or less where they would leave it fewer than four digits.

    >>> unit_for(12_340_000), unit_for(65_520), unit_for(7)
    (10000, 10, 1)
    """
    size, unit = abs(total_micros), _CENT_MICROS
    while unit > 1 and 0 < size < 1_000 * unit:
        unit //= 10
    return unit
