"""Which prices are believed. Pure judgement: a price, what is known already, and today give a state and a sentence.

A price that is not positive, not of this GPU or from the future is refused. One that differs from the price in force by
more than the bound is set aside until somebody confirms it: a person, a second source, or the same source on a later
day. A price that is too old counts for the bill, where an old price is nearer to the truth than none, and for nothing
else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import NamedTuple

from inferno_governator.prices import gpus
from inferno_governator.prices.offers import Quote, dollars


class State(Enum):
    """What a price is good for."""

    # It may be acted on.
    OK = "ok"
    # Too old to act on.
    STALE = "stale"
    # Set aside until it is confirmed; the price before stays in force.
    JUMPED = "jumped"
    # Never used.
    REFUSED = "refused"


class Verdict(NamedTuple):
    """A state, and why, as a sentence; empty where all is well."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """Bounds. Two prices within ``agree_percent`` of one another say the same."""

    max_age_days: int = 90
    jump_percent: int = 30
    agree_percent: int = 5


def judge(
    quote: Quote,
    current: Quote | None,
    waiting: Iterable[Quote],
    today: date,
    rules: Rules,
    *,
    confirmed: bool = False,
) -> Verdict:
    """What a price that somebody names is good for.

    Args:
        quote: The price.
        current: The price of the same offer that is in force, or None.
        waiting: Prices of the same offer that were set aside.
        today: The day, in UTC.
        rules: The bounds.
        confirmed: A person says that it is right, however far it jumps.
    """
    refused = impossible(quote, today)
    if refused:
        return Verdict(State.REFUSED, refused)
    if current is not None and not confirmed:
        if quote.as_of < current.as_of:
            return Verdict(
                State.REFUSED, f"It is of {quote.as_of}, and the price in force is of {current.as_of} already."
            )
        if _apart(quote.micros, current.micros, rules.jump_percent):
            witness = _witness(quote, waiting, rules)
            if witness is None:
                return Verdict(State.JUMPED, jump(quote.micros, current.micros, rules))
    return aged(quote, today, rules)


def aged(quote: Quote, today: date, rules: Rules) -> Verdict:
    """Whether a price that was believed is still fresh enough to act on."""
    days = (today - quote.as_of).days
    if days > rules.max_age_days:
        return Verdict(State.STALE, f"It is {days} days old, and {rules.max_age_days} are allowed.")
    return Verdict(State.OK)


def impossible(quote: Quote, today: date) -> str:
    """Why it can be no price of this offer, as a sentence; empty when it can be."""
    if quote.micros <= 0:
        return f"${dollars(quote.micros)} an hour is no price."
    # One day: it may be tomorrow where the source is.
    if (quote.as_of - today).days > 1:
        return f"It is of {quote.as_of}, which is not yet."
    gpu = gpus.known(quote.offer.gpu)
    if gpu is None:
        return f"The GPU {quote.offer.gpu!r} is not known."
    low = gpu.floor(quote.offer.key.kind)
    if not low <= quote.gpu_micros <= gpu.high:
        return (
            f"${dollars(quote.gpu_micros)} an hour for one {gpu.name} is not between ${dollars(low)} and "
            f"${dollars(gpu.high)}: perhaps it leaves the GPU out, or is of another unit."
        )
    return ""


def jump(new: int, old: int, rules: Rules) -> str:
    """What is said of a price that jumps."""
    percent = (new - old) * 100 / old
    return (
        f"It differs by {percent:+.0f} % from the price in force (${dollars(old)}), more than {rules.jump_percent} %; "
        "it waits until it is confirmed."
    )


def _witness(quote: Quote, waiting: Iterable[Quote], rules: Rules) -> Quote | None:
    """A price set aside before that says the same, from another source or of an earlier day."""
    for other in waiting:
        again = other.source != quote.source or other.as_of < quote.as_of
        if again and not _apart(quote.micros, other.micros, rules.agree_percent):
            return other
    return None


def _apart(new: int, old: int, percent: int) -> bool:
    return abs(new - old) * 100 > old * percent
