"""Periods that reports are about: whole minutes, by their names or by their ends, all in UTC."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from inferno_runtime.errors import InvalidInput

_DAY = timedelta(days=1)
_UNITS = {"m": 1, "h": 60, "d": 1440, "w": 10_080}
_DURATION = re.compile(r"([1-9]\d{0,5})([mhdw])")
_MONTH = re.compile(r"\d{4}-\d{2}")
_CALENDAR = ("today", "yesterday", "this-week", "last-week", "this-month", "last-month")
KNOWN = f"{', '.join(_CALENDAR)}; a length up to now like 90m, 24h, 7d or 4w; a month like 2026-10; START..END"
# What stands for the period before.
PREVIOUS = "previous"
_HOUR = 60
# 9999-12-31: the last day a Timestamp may name.
_LAST_SECOND = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Period:
    """Whole minutes: from ``start_minute``, until before ``end_minute``."""

    start_minute: int
    end_minute: int

    @property
    def minutes(self) -> int:
        """How many they are."""
        return self.end_minute - self.start_minute


def period(start: int | None, end: int | None, now: float) -> Period:
    """The minutes a question is about.

    Args:
        start: Unix seconds, rounded down to the minute; None is one hour before the end.
        end: Unix seconds, rounded up to the minute; None is now.
        now: Unix seconds.

    Raises:
        InvalidInput: The period is empty or reversed, or no calendar knows it.

    >>> period(None, 7201, now=0.0)
    Period(start_minute=61, end_minute=121)
    """
    for name, second in (("start", start), ("end", end)):
        if second is not None and not 0 <= second <= _LAST_SECOND:
            raise InvalidInput(
                f"{name} is outside the years 1970 to 9999.", reason="BAD_PERIOD", fix=f"Give a {name} within them."
            )
    end_minute = math.ceil((now if end is None else end) / 60)
    start_minute = end_minute - _HOUR if start is None else start // 60
    if start_minute >= end_minute or (start is not None and end is not None and start >= end):
        raise InvalidInput(
            "The period ends before it begins." if start != end else "The period is empty.",
            reason="BAD_PERIOD",
            fix="Give a start that lies before the end.",
        )
    return Period(start_minute, end_minute)


def named(name: str, now: float) -> Period:
    """The period of a name. Weeks begin on Monday; what is not over ends now.

    Args:
        name: See :data:`KNOWN`. START and END are ISO 8601; without an offset they are UTC.
        now: Unix seconds.

    Raises:
        InvalidInput: No period has this name, or it is empty.

    >>> named("2h", now=7200.0), named("1970-02", now=9e9)
    (Period(start_minute=0, end_minute=120), Period(start_minute=44640, end_minute=84960))
    """
    moment = datetime.fromtimestamp(now, UTC)
    if name in _CALENDAR:
        start = _calendar_start(name, moment)
        over = name in ("yesterday", "last-week", "last-month")
        return _between(start, _calendar_start(_CALENDAR[_CALENDAR.index(name) - 1], moment) if over else moment, name)
    if match := _DURATION.fullmatch(name):
        end = math.ceil(now / 60)
        return period(60 * (end - int(match[1]) * _UNITS[match[2]]), 60 * end, now)
    if _MONTH.fullmatch(name):
        start = _moment(f"{name}-01", name)
        return _between(start, min(_month_after(start), max(start, moment)), name)
    first, dots, second = name.partition("..")
    if not dots:
        raise InvalidInput(f"{name!r} is no period.", reason="BAD_PERIOD", fix=f"Write one of: {KNOWN}.")
    return _between(_moment(first, name), _moment(second, name), name)


def compared(name: str, over: Period, of: str, now: float) -> Period:
    """The period to compare another with.

    Args:
        name: A name, or ``previous``: the day, week or month before, as long into it as ``over`` is into its own; of
            any other period, the time of the same length just before it.
        over: The period to be compared.
        of: Its name; empty where it has none.
        now: Unix seconds.

    Raises:
        InvalidInput: No period has this name, or it is empty.
    """
    if name != PREVIOUS:
        return named(name, now)
    start = datetime.fromtimestamp(over.start_minute * 60, UTC)
    if of in ("this-month", "last-month") or _MONTH.fullmatch(of):
        begin = _month_of(start - _DAY)
        whole = of != "this-month" and over.end_minute == _minute(_month_after(start))
        end = over.start_minute if whole else min(_minute(begin) + over.minutes, over.start_minute)
        return Period(_minute(begin), end)
    length = {"today": 1440, "this-week": 10_080}.get(of, over.minutes)
    if over.start_minute < length:
        raise InvalidInput(
            "There is no time before this period.", reason="BAD_PERIOD", fix="Name the period to compare with."
        )
    return Period(over.start_minute - length, over.end_minute - length)


def _calendar_start(name: str, moment: datetime) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    week = day - day.weekday() * _DAY
    month = day.replace(day=1)
    starts = (day, day - _DAY, week, week - 7 * _DAY, month, _month_of(month - _DAY))
    return starts[_CALENDAR.index(name)]


def _month_of(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _month_after(start: datetime) -> datetime:
    return _month_of(start + 31 * _DAY)


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60


def _moment(text: str, name: str) -> datetime:
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} in {name!r} is not a time.",
            reason="BAD_PERIOD",
            fix="Write ISO 8601: 2026-11-01..2026-11-23T02:00Z.",
        ) from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _between(start: datetime, end: datetime, name: str) -> Period:
    try:
        return period(int(start.timestamp()), math.ceil(end.timestamp()), 0.0)
    except InvalidInput as error:
        said = f"{name!r} is no period: {error.message[0].lower()}{error.message[1:]}"
        raise InvalidInput(said, reason=error.reason, fix=error.fix) from error
