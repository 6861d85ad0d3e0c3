"""Money as integers: millionths of a US dollar, never floats."""

from __future__ import annotations

from collections.abc import Sequence

# Micro-dollars in a dollar.
MICROS = 1_000_000
MICROS_PER_SECOND = 1_000_000
MICROS_PER_HOUR = 3_600 * MICROS_PER_SECOND


def metered(price_micros_per_hour: int, start_micros: int, used_micros: int) -> int:
    """What ``used_micros`` microseconds from ``start_micros`` (Unix time in microseconds) cost, in micro-dollars.

    The meter counts from the epoch and the cost is the difference of two readings rounded down. So costs of adjoining
    stretches add up to the cost of the whole, and any full hour costs the price exactly, though a single minute of a
    price like 1.00 dollar an hour (16,666.67 micro-dollars) is not a whole number.

    >>> sum(metered(1_000_000, minute * 60_000_000, 60_000_000) for minute in range(7, 67))
    1000000
    """
    before = price_micros_per_hour * start_micros // MICROS_PER_HOUR
    return price_micros_per_hour * (start_micros + used_micros) // MICROS_PER_HOUR - before


def apportion(amount: int, weights: Sequence[int]) -> list[int]:
    """Split ``amount`` (zero or more) by ``weights`` (zero or more each) so that the parts add up to it exactly.

    Largest remainder: each part is rounded down and what is left goes, one unit each, to the largest remainders, the
    earlier one where they are equal. With no weight at all every part is zero except the last, which is all of it.

    >>> apportion(100, [1, 1, 1])
    [34, 33, 33]
    """
    total = sum(weights)
    if total == 0:
        return [0] * (len(weights) - 1) + [amount]
    parts = [amount * weight // total for weight in weights]
    left = amount - sum(parts)
    if left:
        by_remainder = sorted(range(len(weights)), key=lambda i: (-(amount * weights[i] % total), i))
        for i in by_remainder[:left]:
            parts[i] += 1
    return parts


def dollars(micros: int, *, sign: bool = False) -> str:
    """US dollars for a sentence: cents, and hundredths of them below a dollar.

    >>> dollars(1_234_567_890), dollars(-1_200), dollars(5, sign=True)
    ('$1,234.57', '-$0.0012', '+$0.0000')
    """
    mark = "-" if micros < 0 else "+" if sign else ""
    size = abs(micros) / MICROS
    return f"{mark}${size:,.2f}" if size >= 1 else f"{mark}${size:.4f}"
