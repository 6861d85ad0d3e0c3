"""Budgets: what covers what, which window holds, how it stands, and which one binds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.analysis.items import Item
from inferno_governator.budgets.budget import Budget, Scope, above, check, scope_of
from inferno_governator.budgets.periods import DAY, HOUR, window
from inferno_governator.budgets.settings import BudgetSettings
from inferno_governator.budgets.spending import SpendBook
from inferno_governator.budgets.standing import Standing, binding, chain, standing
from inferno_governator.settings import GovernatorSettings
from inferno_governator.usage import Facts
from inferno_runtime.errors import InvalidInput
from tests.unit.inferno_governator.items import item as whole_item

DOLLAR = 1_000_000
# Wednesday 2026-11-18 12:30 UTC.
NOW = int(datetime(2026, 11, 18, 12, 30, tzinfo=UTC).timestamp()) // 60
THIS_HOUR = NOW // HOUR * HOUR
TODAY = NOW // DAY * DAY


def budget(name: str = "b", scope: Scope = Scope(), dollars: int = 10, period: str = "day") -> Budget:  # noqa: B008
    return Budget(name, scope, dollars * DOLLAR, period)


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 60


def item(start: int, cost: int, *, minutes: int = 60, region: str = "", **who: Any) -> Item:
    """What was spent from a minute on, by whom."""
    return whole_item(
        facts=Facts(price=1, region=region),
        start_minute=start,
        minutes=minutes,
        cost_micros=cost,
        **{"model": "", **who},
    )


names = st.sampled_from(["", "a", "b"])
scopes = st.builds(Scope, names, names, names, names)


@given(scopes, scopes, scopes)
def test_covering_is_an_order(one: Scope, two: Scope, three: Scope) -> None:
    assert one.covers(one)
    assert Scope().covers(one)
    if one.covers(two) and two.covers(three):
        assert one.covers(three)
    if one.covers(two) and two.covers(one):
        assert one == two


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("day", "2026-11-18", "2026-11-19"),
        ("week", "2026-11-16", "2026-11-23"),
        ("month", "2026-11-01", "2026-12-01"),
        ("3h", "2026-11-18T10:00", "2026-11-18T13:00"),
        ("2d", "2026-11-17", "2026-11-19"),
    ],
)
def test_windows_are_those_of_utc(period: str, start: str, end: str) -> None:
    found = window(period, NOW)
    assert (found.start_minute, found.end_minute) == (minute(start), minute(end))


@given(st.integers(0, 60_000_000), st.sampled_from(["day", "week", "month", "1h", "72h", "1d", "366d"]))
def test_the_present_lies_in_its_window_and_the_next_calendar_one_begins_where_it_ends(now: int, period: str) -> None:
    found = window(period, now)
    assert found.start_minute <= now < found.end_minute
    following = window(period, found.end_minute)
    assert following.start_minute == (found.start_minute + found.step if found.step else found.end_minute)


@pytest.mark.parametrize("period", ["", "year", "0d", "73h", "367d", "1.5h", "-1d", "٣d"])
def test_what_is_no_period_is_refused(period: str) -> None:
    with pytest.raises(InvalidInput, match="no period of a budget"):
        check(budget(period=period))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Budget("no spaces", Scope(), 1, "day"), "name"),
        (Budget("b", Scope(team="a\nb"), 1, "day"), "team"),
        (Budget("b", Scope(), 0, "day"), "amount"),
        (Budget("b", Scope(), -5, "day"), "amount"),
        (Budget("b", Scope(), 1, "day", (80, 50)), "thresholds"),
        (Budget("b", Scope(), 1, "day", ()), "thresholds"),
        (Budget("b", Scope(), 1, "day", (0,)), "thresholds"),
        (Budget("b", Scope(region="eu"), 1, "day", hard=True), "hard"),
    ],
)
def test_an_impossible_budget_is_refused_by_its_field(wrong: Budget, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"The budget is refused: {field}: "):
        check(wrong)


cells = st.builds(
    item,
    st.integers(0, 5 * 24).map(lambda hour: TODAY - 3 * DAY + hour * HOUR),
    st.integers(0, 10**9),
    model=names,
    team=names,
    key=names,
    region=names,
)


@given(st.lists(cells, max_size=40), scopes)
def test_spending_is_the_sum_of_what_the_scope_covers_exactly(items: list[Item], scope: Scope) -> None:
    book = SpendBook()
    book.add(items)
    start, end = TODAY - 2 * DAY, TODAY + DAY
    wanted = [each for each in items if start <= each.start_minute < end and scope.covers(scope_of(each))]
    assert book.spent(scope, start, end) == sum(each.cost_micros for each in wanted)
    before = book.spent(scope, 0, 10**9)
    book.fold(NOW + 3 * DAY)
    assert book.spent(scope, 0, 10**9) == before, "adding hours up to days loses nothing"


def test_reading_a_stretch_again_counts_it_once() -> None:
    book = SpendBook()
    for cost in (1, 5):
        book.replace(THIS_HOUR, THIS_HOUR + HOUR, [item(THIS_HOUR, cost), item(THIS_HOUR + 7, cost, minutes=1)])
    assert book.spent(Scope(), TODAY, TODAY + DAY) == 10


def stands(one: Budget, *spent: tuple[int, int]) -> Standing:
    """How it stands when so many dollars were spent so many hours ago."""
    book = SpendBook()
    book.add([item(THIS_HOUR - ago * HOUR, dollars * DOLLAR) for ago, dollars in spent])
    return standing(one, book, NOW)


def test_what_goes_on_at_its_rate_runs_out_when_it_does() -> None:
    # 3 dollars in the last 90 minutes are 2 an hour; 4 of 10 are spent, so 3 hours are left.
    found = stands(budget(), (0, 1), (1, 2), (5, 1), (13, 100))
    assert (found.spent_micros, found.rate_micros) == (4 * DOLLAR, 2 * DOLLAR)
    assert found.runs_out_minute == NOW + 180
    assert found.forecast_micros == 4 * DOLLAR + 23 * DOLLAR
    assert found.crossed == 0


def test_thresholds_are_crossed_when_they_are_reached_to_the_micro_dollar() -> None:
    almost = Budget("b", Scope(), 10 * DOLLAR + 1, "day")
    assert [stands(budget(), (0, dollars)).crossed for dollars in (4, 5, 7, 8, 9, 10, 90)] == [
        0,
        50,
        50,
        80,
        80,
        100,
        100,
    ]
    assert stands(almost, (0, 10)).crossed == 80


def test_what_is_spent_has_run_out_and_what_lasts_has_no_end() -> None:
    assert stands(budget(), (0, 10)).runs_out_minute == NOW
    assert stands(budget(), (9, 9)).runs_out_minute is None, "nothing is spent at present"
    assert stands(budget(dollars=1000), (0, 1)).runs_out_minute is None, "the day ends before"


def test_a_rolling_window_lets_go_of_what_is_old() -> None:
    # 8 of 10 dollars were spent in the hour that leaves the window next: at 2 dollars an hour it never runs out.
    steady = stands(budget(period="4h"), (3, 4), (0, 1), (1, 2))
    assert steady.spent_micros == 7 * DOLLAR
    assert (steady.forecast_micros, steady.runs_out_minute) == (8 * DOLLAR, None)
    rising = stands(budget(period="4h", dollars=7), (2, 1), (0, 1), (1, 2))
    assert rising.runs_out_minute is not None
    assert NOW < rising.runs_out_minute <= NOW + 4 * HOUR


TREE = (
    budget("all", dollars=100),
    budget("search", Scope("search"), 20),
    budget("search-ci", Scope("search", "ci"), 15),
    budget("ads", Scope("ads"), 50),
)


def test_the_budget_with_the_least_left_binds_wherever_it_stands_in_the_tree() -> None:
    book = SpendBook()
    book.add([item(THIS_HOUR, 12 * DOLLAR, model="m", team="search", key="dev"), item(THIS_HOUR, 60 * DOLLAR)])
    every = [standing(each, book, NOW) for each in TREE]
    ci = binding(Scope("search", "ci"), every)
    assert ci is not None
    assert (ci.budget.name, ci.left_micros) == ("search", 8 * DOLLAR), "its own has 15 left, its team's 8"
    ads = binding(Scope("ads", "x", "m"), every)
    assert ads is not None
    assert (ads.budget.name, ads.left_micros) == ("all", 28 * DOLLAR)
    assert [each.budget.name for each in chain(Scope("search", "ci", "m"), every)] == ["all", "search", "search-ci"]
    assert binding(Scope("nobody"), every[1:]) is None


@given(scopes, st.lists(scopes, max_size=6))
def test_what_stands_above_is_what_covers(scope: Scope, others: list[Scope]) -> None:
    budgets = [budget(str(at), each) for at, each in enumerate(others)]
    found = above(scope, budgets)
    assert {each.name for each in found} == {each.name for each in budgets if each.scope.covers(scope)}


def test_the_largest_part_is_named() -> None:
    book = SpendBook()
    book.add([item(THIS_HOUR, 2, model="m", team="a"), item(THIS_HOUR, 3, model="k", team="a"), item(THIS_HOUR, 9)])
    assert standing(budget(scope=Scope("a")), book, NOW).largest == (Scope("a", "", "k"), 3)


def test_the_settings_file_takes_dollars_and_refuses_what_is_impossible() -> None:
    made = BudgetSettings(amount="12.50", team="search").budget("search")  # type: ignore[arg-type]
    assert made == Budget("search", Scope("search"), 12_500_000, "month")
    with pytest.raises(ValueError, match="'b': 'year' is no period"):
        GovernatorSettings(budgets={"b": {"amount": 1, "period": "year"}})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="6 decimal"):
        GovernatorSettings(budgets={"b": {"amount": "0.0000001"}})  # type: ignore[dict-item]
