"""A period of time as people write it on the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from inferno_runtime.errors import InvalidInput

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` (inclusive) to ``end`` (exclusive), both aware of their time zone."""

    start: datetime
    end: datetime


def duration(text: str) -> timedelta:
    """Read ``90s``, ``15m``, ``1h`` or ``7d``.

    Raises:
        InvalidInput: The text is none of these, or zero.

    >>> duration("1.5h")
    datetime.timedelta(seconds=5400)
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not seconds:
        raise InvalidInput(
            f"{text!r} is not a duration.", reason="BAD_DURATION", fix="Write a number and a unit: 90s, 15m, 1h or 7d."
        )
    return timedelta(seconds=seconds)


def moment(text: str) -> datetime:
    """Read an ISO 8601 time; without an offset it is UTC.

    Raises:
        InvalidInput: It is no such time.

    >>> moment("2026-11-23T02:00").isoformat()
    '2026-11-23T02:00:00+00:00'
    """
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} is not a time.", reason="BAD_TIME", fix="Write ISO 8601, for example 2026-11-23T02:00Z."
        ) from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def choose(since: str | None, start: str | None, end: str | None, *, now: datetime) -> Period:
    """The period that the flags name; one hour up to now without any.

    Raises:
        InvalidInput: The flags contradict each other, or the period is empty.
    """
    if since and start:
        raise InvalidInput("--since and --start both set the start.", reason="BAD_PERIOD", fix="Give one of them.")
    until = moment(end) if end else now
    begin = moment(start) if start else until - duration(since or "1h")
    if begin >= until:
        raise InvalidInput(
            f"The period is empty: it starts at {begin.isoformat()} and ends at {until.isoformat()}.",
            reason="BAD_PERIOD",
            fix="Give a --start before the end.",
        )
    return Period(begin, until)
