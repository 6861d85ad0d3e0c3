from __future__ import annotations

from datetime import UTC, datetime

import pytest

from inferno_governator.analysis.periods import Period, compared, named, period
from inferno_runtime.errors import InvalidInput


def test_a_period_is_the_last_hour_unless_it_is_given() -> None:
    assert period(None, None, now=7_199.5) == Period(60, 120)


def test_the_start_is_rounded_down_and_the_end_up_to_the_minute() -> None:
    assert period(119, 121, now=0) == Period(1, 3)


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        (120, 120, "empty"),
        (125, 121, "before it begins"),
        (600, None, "before it begins"),
        (-1, 5, "start is outside"),
        (1, 10**15, "end is outside"),
    ],
)
def test_an_impossible_period_is_refused(start: int | None, end: int | None, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        period(start, end, now=0.0)


# Monday, 2026-11-23 12:30:30 UTC.
NOW = datetime(2026, 11, 23, 12, 30, 30, tzinfo=UTC).timestamp()


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 60


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("today", "2026-11-23", "2026-11-23T12:31"),
        ("yesterday", "2026-11-22", "2026-11-23"),
        ("this-week", "2026-11-23", "2026-11-23T12:31"),
        ("last-week", "2026-11-16", "2026-11-23"),
        ("this-month", "2026-11-01", "2026-11-23T12:31"),
        ("last-month", "2026-10-01", "2026-11-01"),
        ("2026-02", "2026-02-01", "2026-03-01"),
        ("2025-12", "2025-12-01", "2026-01-01"),
        ("2026-11", "2026-11-01", "2026-11-23T12:31"),
        ("90m", "2026-11-23T11:01", "2026-11-23T12:31"),
        ("7d", "2026-11-16T12:31", "2026-11-23T12:31"),
        ("2026-11-01..2026-11-02T02:30+02:00", "2026-11-01", "2026-11-02T00:30"),
    ],
)
def test_a_name_is_whole_minutes_in_utc(name: str, start: str, end: str) -> None:
    assert named(name, NOW) == Period(at(start), at(end))


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("today", "2026-11-22", "2026-11-22T12:31"),
        ("yesterday", "2026-11-21", "2026-11-22"),
        ("this-week", "2026-11-16", "2026-11-16T12:31"),
        ("last-week", "2026-11-09", "2026-11-16"),
        ("this-month", "2026-10-01", "2026-10-23T12:31"),
        ("last-month", "2026-09-01", "2026-10-01"),
        ("2026-03", "2026-02-01", "2026-03-01"),
        ("2026-11", "2026-10-01", "2026-10-23T12:31"),
        ("2026-11-03..2026-11-05", "2026-11-01", "2026-11-03"),
    ],
)
def test_the_period_before_is_as_long_into_its_own(name: str, start: str, end: str) -> None:
    assert compared("previous", named(name, NOW), name, NOW) == Period(at(start), at(end))


def test_a_period_may_be_compared_with_any_other() -> None:
    assert compared("last-month", named("today", NOW), "today", NOW) == named("last-month", NOW)


def test_the_first_of_a_month_is_compared_with_the_first_of_the_one_before() -> None:
    late = datetime(2026, 3, 31, tzinfo=UTC).timestamp()
    # 30 days into March there is no February left.
    assert compared("previous", named("this-month", late), "this-month", late) == Period(
        at("2026-02-01"), at("2026-03-01")
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("soon", "'soon' is no period"),
        ("0d", "'0d' is no period"),
        ("2026-13", "'2026-13-01' in '2026-13' is not a time"),
        ("a..b", "'a' in 'a..b' is not a time"),
        ("2026-11-02..2026-11-01", "no period: the period ends before it begins"),
        ("2027-01", "no period: the period is empty"),
        ("9999999w", "no period"),
        ("999999w", "outside the years 1970"),
    ],
)
def test_what_names_no_period_is_refused_with_what_does(name: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        named(name, NOW)
    assert caught.value.fix


def test_before_the_beginning_of_time_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(InvalidInput, match="no time before"):
        compared("previous", Period(10, 30), "", NOW)


def test_the_first_second_of_a_day_is_a_minute_of_it() -> None:
    midnight = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    with pytest.raises(InvalidInput, match="empty"):
        named("today", midnight)
    assert named("today", midnight + 1) == Period(at("2026-11-23"), at("2026-11-23T00:01"))
