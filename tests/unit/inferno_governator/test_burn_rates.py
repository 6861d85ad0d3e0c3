"""Error budgets: how fast they burn, and incidents played again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.alerts.alert import Severity
from inferno_governator.requests import BUCKETS, RequestUse
from inferno_governator.watch.burn_rates import LONGEST, RULES, Outcome, burns, worst
from inferno_governator.watch.objective import Objective
from inferno_governator.watch.objective_findings import findings
from inferno_governator.watch.outcomes import OutcomeBook
from tests.unit.inferno_governator.items import item

OBJECTIVE = Objective("m", share=0.999, latency_micros=100_000)
NOW = 10 * 1440


def minutes(bad_share: float, start: int, end: int, requests: int = 1000) -> list[Outcome]:
    bad = round(requests * bad_share)
    return [Outcome(minute, 1, requests, bad, 0, 0) for minute in range(start, end)]


def severity(outcomes: list[Outcome], now: int = NOW) -> Severity | None:
    found = worst(burns(OBJECTIVE, outcomes, now))
    return found.rule.severity if found else None


def test_thresholds_are_those_of_the_workbook_for_thirty_days_and_scale_with_the_period() -> None:
    assert [round(rule.threshold(30), 3) for rule in RULES] == [14.4, 6.0, 1.0]
    assert [round(rule.threshold(7), 3) for rule in RULES] == [3.36, 1.4, pytest.approx(0.233, abs=0.001)]


@pytest.mark.parametrize(
    ("share", "minutes_bad", "expected"),
    [
        # An outage is found within its first minutes: 100 % bad burns 1,000 times too fast.
        (1.0, 2, Severity.CRITICAL),
        # 2 % bad for an hour is a burn rate of 20.
        (0.02, 60, Severity.CRITICAL),
        # 1 % is 10: too slow for the hour, too fast for six.
        (0.01, 360, Severity.CRITICAL),
        (0.01, 60, None),
        # 0.2 % is 2: a warning after a day and a half.
        (0.002, 2880, Severity.WARNING),
        # 0.05 % is within the objective for ever.
        (0.0005, 4320, None),
        (0.0, 4320, None),
    ],
)
def test_incidents(share: float, minutes_bad: int, expected: Severity | None) -> None:
    quiet = minutes(0.0, NOW - LONGEST, NOW - minutes_bad)
    assert severity([*quiet, *minutes(share, NOW - minutes_bad, NOW)]) is expected


def test_an_alert_ends_minutes_after_the_trouble_does() -> None:
    outcomes = [*minutes(0.0, NOW - LONGEST, NOW - 60), *minutes(0.2, NOW - 60, NOW - 6), *minutes(0.0, NOW - 6, NOW)]
    fast = burns(OBJECTIVE, outcomes, NOW)[0]
    assert fast.long_rate > fast.threshold
    assert not fast.fires


def test_a_handful_of_requests_is_chance() -> None:
    assert severity([Outcome(NOW - 3, 1, 4, 4, 0, 0)]) is None


outcomes = st.lists(
    st.builds(
        lambda minute, requests, bad: Outcome(minute, 1, requests, min(bad, requests), 0, 0),
        st.integers(NOW - LONGEST, NOW - 1),
        st.integers(0, 10_000),
        st.integers(0, 10_000),
    ),
    max_size=30,
)


@given(outcomes, st.integers(0, 10_000))
def test_more_bad_requests_never_burn_slower(known: list[Outcome], more: int) -> None:
    worse = [each._replace(failed=min(each.requests, each.failed + more)) for each in known]
    for before, after in zip(burns(OBJECTIVE, known, NOW), burns(OBJECTIVE, worse, NOW), strict=True):
        assert after.long_rate >= before.long_rate
        assert after.short_rate >= before.short_rate
        assert after.fires or not before.fires


def use(minute: int, fast: int, slow: int, failed: int = 0) -> RequestUse:
    histogram = [0] * BUCKETS
    histogram[0], histogram[-1] = fast, slow
    return RequestUse(minute, 1, "n", "m", "1", "", "", fast + slow, 7, 0, failed, 0, 0, 0, 0, 0, tuple(histogram))


def test_proxies_are_believed_where_they_report_a_model_and_callers_faults_are_their_own() -> None:
    book = OutcomeBook({"m": OBJECTIVE})
    node = item(start_minute=NOW, minutes=1, model="m", requests=50, errors=50, request_micros=0)
    book.replace(NOW, NOW + 1, [node], [use(NOW, 90, 6, 4)])
    assert book.of("m") == [Outcome(NOW, 1, 100, 4, 6, 0)]
    book.replace(NOW, NOW + 1, [node], [])
    assert book.of("m") == [Outcome(NOW, 1, 100, 50, 0, 0)]


def test_nodes_know_means_alone_so_a_slow_minute_is_slow_altogether() -> None:
    book = OutcomeBook({"m": Objective("m", 0.99, latency_micros=1000, queue_micros=500)})
    common: dict[str, Any] = {"minutes": 1, "model": "m", "requests": 10, "errors": 1}
    book.replace(NOW, NOW + 1, [item(start_minute=NOW, request_micros=10_001, queue_micros=0, **common)], [])
    assert book.of("m") == [Outcome(NOW, 1, 11, 1, 10, 0)]
    book.replace(NOW, NOW + 1, [item(start_minute=NOW, request_micros=10_000, queue_micros=5_001, **common)], [])
    assert book.of("m") == [Outcome(NOW, 1, 11, 1, 0, 10)]
    assert book.of("other") == []


def test_what_is_said_names_the_reason_and_how_long_the_budget_lasts() -> None:
    incident = [Outcome(minute, 1, 1000, 10, 490, 0) for minute in range(NOW - 30, NOW)]
    (found,) = findings(OBJECTIVE, burns(OBJECTIVE, incident, NOW))
    assert found.subject == "model m"
    assert "14700 of 30000 requests took longer than 100 ms" in found.cause
    assert "lasts 1.4 h" in found.cause
    assert found.evidence["failed"] == "300"
    assert findings(OBJECTIVE, burns(OBJECTIVE, [], NOW)) == []
