from __future__ import annotations

import pytest

from inferno_proxy.feedback.brownout import BrownOuts
from inferno_proxy.feedback.observed import Counts
from inferno_proxy.fleet import Address


def counts(at: float, *endpoints: tuple[int, int], model: str = "m", client: str = "envoy") -> list[Counts]:
    """A report: failed and succeeded tries of each endpoint."""
    return [
        Counts(client, model, Address("10.0.0.1", port), failed + succeeded, succeeded, failed, 0, 0.5, at)
        for port, (failed, succeeded) in enumerate(endpoints, 1)
    ]


def browned_out() -> BrownOuts:
    found = BrownOuts()
    found.judge(counts(10.0, (20, 0), (20, 0)), 10.0)
    assert found.models == {"m"}
    return found


def test_a_model_whose_every_endpoint_fails_is_browned_out() -> None:
    found = BrownOuts()
    (act,) = found.judge(counts(10.0, (30, 10), (20, 20), (10, 30)), 10.0)
    assert found.models == {"m"}
    assert (act.kind, act.subject, act.seconds) == ("BROWN_OUT", "m", None)
    assert act.evidence == "60 of 120 tries failed at 3 endpoints of late, 25% at the best of them"
    assert found.judge(counts(10.5, (30, 10)), 10.5) == []


@pytest.mark.parametrize(
    "endpoints",
    [
        pytest.param([(40, 0), (40, 0), (0, 1)], id="one of three lives"),
        pytest.param([(10, 90), (10, 90)], id="a tenth fails everywhere"),
        pytest.param([(4, 0), (5, 0)], id="few failures"),
        pytest.param([(0, 0), (0, 0)], id="no tries"),
    ],
)
def test_retries_stay_while_they_help_or_cost_little(endpoints: list[tuple[int, int]]) -> None:
    found = BrownOuts()
    assert found.judge(counts(10.0, *endpoints), 10.0) == []
    assert not found.models


def test_an_endpoint_that_gets_no_calls_says_nothing() -> None:
    found = BrownOuts()
    found.judge(counts(10.0, (40, 0), (0, 0)), 10.0)
    assert found.models == {"m"}


def test_an_endpoint_that_was_well_before_it_got_no_more_calls_says_nothing() -> None:
    found = BrownOuts()
    found.judge(counts(10.0, (0, 20), (0, 20)), 10.0)
    found.judge(counts(10.5, (3, 17), (3, 17)), 10.5)
    found.judge(counts(11.0, (40, 0)), 11.0)
    assert found.models == {"m"}


def test_calls_that_were_refused_burden_no_node() -> None:
    found = BrownOuts()
    for at, issued, succeeded, under_way in ((10.0, 30, 20, 10), (10.5, 20, 22, 8), (11.0, 0, 8, 0)):
        refused = Counts("envoy", "m", Address("10.0.0.1", 1), issued, succeeded, 40, under_way, 0.5, at)
        assert found.judge([refused], at) == []


def test_few_failures_in_each_report_are_enough_together() -> None:
    found = BrownOuts()
    found.judge(counts(10.0, (6, 0)), 10.0)
    assert not found.models
    found.judge(counts(10.5, (6, 0)), 10.5)
    assert found.models == {"m"}


def test_what_all_data_planes_saw_counts_together() -> None:
    found = BrownOuts()
    found.judge(counts(10.0, (6, 0)), 10.0)
    assert not found.models
    found.judge(counts(10.1, (6, 0), client="other"), 10.1)
    assert found.models == {"m"}


def test_models_are_told_apart() -> None:
    found = BrownOuts()
    found.judge(counts(10.0, (40, 0)) + counts(10.0, (0, 40), model="other"), 10.0)
    assert found.models == {"m"}


def test_a_brown_out_is_over_when_an_endpoint_has_been_well_for_a_second() -> None:
    found = browned_out()
    assert found.judge(counts(11.0, (0, 20), (20, 0)), 11.0) == []
    assert found.judge(counts(11.5, (0, 20), (20, 0)), 11.5) == []
    (act,) = found.judge(counts(12.0, (0, 20), (20, 0)), 12.0)
    assert (act.kind, act.seconds, found.models) == ("BROWN_OUT_OVER", 2.0, frozenset())
    assert act.cause == "an endpoint of model m is well again"


def test_one_that_is_well_for_a_moment_only_does_not_end_it() -> None:
    found = browned_out()
    for number in range(20):
        at = 11.0 + number * 0.5
        found.judge(counts(at, (0, 20) if number % 3 == 0 else (20, 0)), at)
    assert found.models == {"m"}


def test_a_brown_out_that_nobody_sees_any_more_is_over_after_five_seconds() -> None:
    found = browned_out()
    assert found.judge([], 14.9) == []
    (act,) = found.judge([], 15.0)
    assert (act.cause, act.seconds) == ("nobody calls model m", 5.0)


def test_few_failures_keep_a_brown_out_going() -> None:
    found = browned_out()
    for at in (12.0, 14.0, 16.0, 18.0):
        assert found.judge(counts(at, (1, 0)), at) == []
    assert found.models == {"m"}
