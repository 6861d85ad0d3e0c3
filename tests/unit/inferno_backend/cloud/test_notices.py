"""What follows from the notices of a provider."""

from __future__ import annotations

import pytest

from inferno_backend.cloud.machine import Kind, Notice
from inferno_backend.cloud.notices import Standing, advance, left, reason

NOW, WALL = 1000.0, 1_700_000_000.0
GONE = Notice(Kind.RECLAIM, "terminate", 120.0)


def after(*looks: tuple[float, tuple[Notice, ...]]) -> tuple[Standing, ...]:
    """What stands after looks at so many seconds from the start."""
    standing: tuple[Standing, ...] = ()
    for at, seen in looks:
        standing = advance(standing, seen, NOW + at, WALL + at)
    return standing


def test_a_notice_is_known_from_when_it_was_read_first_and_until_when_it_says() -> None:
    (one,) = after((0, ()), (3, (GONE,)))
    assert (one.noticed, one.deadline, one.ends) == (WALL + 3, NOW + 123, WALL + 123)
    assert after((3, (GONE,)), (4, (Notice(Kind.RECLAIM, "terminate", 119.0),))) == (one,)


def test_a_provider_that_says_only_how_long_its_notices_are_does_not_put_the_end_off() -> None:
    always = Notice(Kind.RECLAIM, "preempt", 30.0)
    (one,) = after((0, (always,)), (10, (always,)), (29, (always,)))
    assert one.deadline == NOW + 30
    assert left((one,), NOW + 29) == 1
    assert left((one,), NOW + 40) == 0


def test_an_end_that_is_brought_forward_counts() -> None:
    (one,) = after((0, (GONE,)), (1, (Notice(Kind.RECLAIM, "terminate", 20.0),)))
    assert (one.deadline, one.ends, one.noticed) == (NOW + 21, WALL + 21, WALL)
    unknown = Notice(Kind.RECLAIM, "terminate")
    assert after((0, (unknown,)), (1, (GONE,)))[0].deadline == NOW + 121
    assert after((0, (GONE,)), (1, (unknown,)))[0].deadline == NOW + 120


def test_an_end_that_is_no_longer_spoken_of_is_doubted_a_minute_after_its_time() -> None:
    assert after((0, (GONE,)), (1, ()), (179, ()))
    assert not after((0, (GONE,)), (1, ()), (181, ()))
    unknown = Notice(Kind.RECLAIM, "hibernate")
    assert after((0, (unknown,)), (1, ()), (60, ()))
    assert not after((0, (unknown,)), (1, ()), (60, ()), (62, ()))


def test_advice_and_work_on_the_host_last_as_long_as_they_are_spoken_of_and_drain_nobody() -> None:
    advice, work = Notice(Kind.REBALANCE, "rebalance"), Notice(Kind.MAINTENANCE, "freeze")
    standing = after((0, (advice, work, GONE)))
    assert [one.kind for one in standing] == [Kind.RECLAIM, Kind.MAINTENANCE, Kind.REBALANCE], "the worst comes first"
    assert [one.kind for one in advance(standing, (), NOW + 1, WALL + 1)] == [Kind.RECLAIM]
    others = after((0, (advice, work)))
    assert not reason(others, NOW)
    assert left(others, NOW) is None


@pytest.mark.parametrize(
    ("notice", "said"),
    [
        (GONE, "The provider takes this machine back at 22:15:20 UTC (terminate)."),
        (Notice(Kind.RECLAIM, "hibernate", 0.0), "The provider takes this machine back at 22:13:20 UTC (hibernate)."),
        (Notice(Kind.RECLAIM, "stop"), "The provider takes this machine back soon (stop)."),
        (Notice(Kind.RECLAIM, "reboot", 900.0), ""),
    ],
)
def test_the_node_drains_when_the_end_is_near(notice: Notice, said: str) -> None:
    assert reason(after((0, (notice,))), NOW) == said


def test_a_reboot_that_is_far_away_drains_the_node_two_minutes_ahead() -> None:
    standing = after((0, (Notice(Kind.RECLAIM, "reboot", 900.0),)))
    assert not reason(standing, NOW + 779)
    assert "(reboot)" in reason(standing, NOW + 780)
