from __future__ import annotations

import pytest

from inferno_proxy.publishing.publisher import Pace, due, rest

PACE = Pace(quiet=0.01, longest=0.1)


@pytest.mark.parametrize(
    ("first", "last", "published", "when"),
    [
        (5.0, 5.0, None, 5.0),
        (5.0, 5.0, 4.0, 5.0),
        (5.0, 5.0, 4.95, 5.01),
        (5.0, 5.05, 4.95, 5.06),
        (5.0, 5.095, 4.95, 5.1),
    ],
    ids=["the first ever", "alone", "in a burst", "more of the burst", "a burst without a pause"],
)
def test_when_changes_are_published(first: float, last: float, published: float | None, when: float) -> None:
    assert due(first, last, published, PACE) == pytest.approx(when)


@pytest.mark.parametrize(
    ("took", "nodes", "changed", "rests"),
    [
        (0.01, 10_000, 1, 0.01),
        (0.05, 10_000, 0, 0.0),
        (0.1, 1_000, 0, 0.9),
        (0.3, 10_000, 1, 2.7),
        (1.0, 10_000, 1, 5.0),
        (0.01, 10_000, 100, 1.0),
        (0.01, 10_000, 2_000, 5.0),
        (1.0, 3, 3, 0.003),
    ],
    ids=[
        "a lone change",
        "just light",
        "a tenth of the time",
        "a large fleet",
        "no longer than that",
        "many changes at once",
        "a storm",
        "a small fleet",
    ],
)
def test_how_long_a_publisher_rests(took: float, nodes: int, changed: int, rests: float) -> None:
    assert rest(took, nodes, changed, Pace()) == pytest.approx(rests)
