from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from inferno_cli import period
from inferno_cli.period import Period
from inferno_runtime.errors import InvalidInput

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("since", "start", "end", "chosen"),
    [
        (None, None, None, Period(NOW - HOUR, NOW)),
        ("90s", None, None, Period(NOW - timedelta(seconds=90), NOW)),
        (
            "7d",
            None,
            "2026-11-20T00:00Z",
            Period(datetime(2026, 11, 13, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)),
        ),
        (None, "2026-11-23T00:00+01:00", None, Period(datetime(2026, 11, 22, 23, tzinfo=UTC), NOW)),
    ],
)
def test_flags_name_a_period(since: str | None, start: str | None, end: str | None, chosen: Period) -> None:
    assert period.choose(since, start, end, now=NOW) == chosen


@pytest.mark.parametrize(
    ("since", "start", "end", "sentence"),
    [
        ("1h", "2026-11-23", None, "both set the start"),
        (None, "2026-11-24", None, "The period is empty"),
        ("1x", None, None, "'1x' is not a duration"),
        ("0s", None, None, "'0s' is not a duration"),
        (None, "yesterday", None, "'yesterday' is not a time"),
    ],
)
def test_what_names_no_period_is_refused(since: str | None, start: str | None, end: str | None, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as caught:
        period.choose(since, start, end, now=NOW)
    assert caught.value.fix
