from __future__ import annotations

from dataclasses import replace

import pytest

from inferno_proxy.explain.recent import RecentTries, meaning
from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.fleet import Address

TRY = Try("m", Address("10.0.0.1", 1), Outcome.ANSWERED, 0.1, 5.0, request_id="r", status="gRPC 0")


def test_a_call_has_its_tries_in_their_order_each_once() -> None:
    recent = RecentTries()
    first = replace(TRY, outcome=Outcome.RESET, at=4.0)
    second = replace(TRY, attempt=2)
    recent.sampled([second, replace(TRY, request_id="other")])
    recent.kept([first])
    recent.sampled([replace(first, at=4.1), replace(TRY, request_id="")])
    assert recent.of("r") == (first, second)
    assert (recent.of("unknown"), recent.of("")) == ((), ())


def test_what_failed_outlives_many_that_did_not() -> None:
    recent = RecentTries(most=2)
    recent.kept([TRY])
    recent.sampled(replace(TRY, request_id=str(n)) for n in range(5))
    assert [bool(recent.of(name)) for name in ("r", "2", "3", "4")] == [True, False, True, True]


def test_a_call_does_not_grow_without_end() -> None:
    recent = RecentTries()
    recent.kept(replace(TRY, attempt=n) for n in range(1, 100))
    assert len(recent.of("r")) == 20


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (TRY, "The node answered (gRPC 0)."),
        (replace(TRY, flag="upstream_request_timeout"), "The node answered (gRPC 0)."),
        (
            replace(TRY, outcome=Outcome.REFUSED, status="", flag="upstream_connection_failure"),
            "It never ran there: no connection could be made.",
        ),
        (
            replace(TRY, outcome=Outcome.FAILED, status="HTTP 503"),
            "The node answered with an error of its own (HTTP 503).",
        ),
    ],
)
def test_an_end_is_a_sentence(seen: Try, said: str) -> None:
    assert meaning(seen) == said
