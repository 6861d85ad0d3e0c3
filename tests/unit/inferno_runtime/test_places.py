"""Distances on the Earth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_runtime.places import REGIONS, Place, kilometres

PLACES = st.builds(Place, st.floats(-90, 90), st.floats(-180, 180))


@given(PLACES, PLACES)
def test_the_way_back_is_as_long_and_never_longer_than_half_around(one: Place, other: Place) -> None:
    assert kilometres(one, other) == pytest.approx(kilometres(other, one))
    assert 0 <= kilometres(one, other) <= 20_016


@pytest.mark.parametrize(
    ("one", "other", "way"),
    [
        ("eu-west-1", "us-east-1", 5460),
        ("us-east-1", "us-west-2", 3460),
        ("ap-southeast-2", "ap-northeast-1", 7820),
        ("sa-east-1", "af-south-1", 6350),
    ],
)
def test_the_way_between_two_regions_is_that_of_an_atlas(one: str, other: str, way: float) -> None:
    assert kilometres(REGIONS[one], REGIONS[other]) == pytest.approx(way, rel=0.02)


def test_every_bundled_region_is_on_the_earth() -> None:
    assert len(REGIONS) > 100
    assert all(abs(place.latitude) <= 90 and abs(place.longitude) <= 180 for place in REGIONS.values())
