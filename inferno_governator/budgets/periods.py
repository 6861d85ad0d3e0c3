"""The periods of budgets, in Unix minutes: calendar ones in UTC, and rolling ones.

``day``, ``week`` (from Monday) and ``month`` begin anew; ``Nh`` (1 to 72) are the last N hours, the one that runs
included, and ``Nd`` (1 to 366) the last N days of UTC, today included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from inferno_runtime.errors import InvalidInput

HOUR, DAY = 60, 1440
_MOST_HOURS, _MOST_DAYS = 72, 366
_ROLLING = re.compile(r"([1-9][0-9]{0,2})([hd])")


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start_minute`` until before ``end_minute``; ``step`` is what a rolling one moves by, 0 of a calendar's."""

    start_minute: int
    end_minute: int
    step: int = 0


def check_period(period: str) -> str:
    """The period, once it is one.

    Raises:
        InvalidInput: It is none.
    """
    if period not in ("day", "week", "month"):
        match = _ROLLING.fullmatch(period)
        if not match or int(match[1]) > (_MOST_HOURS if match[2] == "h" else _MOST_DAYS):
            raise InvalidInput(
                f"{period[:40]!r} is no period of a budget.",
                reason="BAD_PERIOD",
                fix="Give day, week or month (UTC), or a rolling one: 1h to 72h, 1d to 366d.",
            )
    return period


def window(period: str, now_minute: int) -> Window:
    """The window of a period that a minute lies in.

    >>> window("day", 3 * 1440 + 7)
    Window(start_minute=4320, end_minute=5760, step=0)
    >>> window("24h", 3 * 1440 + 7)
    Window(start_minute=2940, end_minute=4380, step=60)
    """
    match = _ROLLING.fullmatch(period)
    if match:
        step = HOUR if match[2] == "h" else DAY
        end = (now_minute // step + 1) * step
        return Window(end - int(match[1]) * step, end, step)
    today = datetime.fromtimestamp(now_minute * 60, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return _between(today, today + timedelta(days=1))
    if period == "week":
        monday = today - timedelta(days=today.weekday())
        return _between(monday, monday + timedelta(days=7))
    first = today.replace(day=1)
    # 32 days after the first of a month lie in the next one.
    return _between(first, (first + timedelta(days=32)).replace(day=1))


def _between(start: datetime, end: datetime) -> Window:
    return Window(int(start.timestamp()) // 60, int(end.timestamp()) // 60)
