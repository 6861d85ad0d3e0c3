"""How near regions are, in coarse steps."""

from __future__ import annotations

from inferno_proxy.routing.bands import NOWHERE, band
from inferno_runtime.places import REGIONS, Place


def test_providers_that_share_a_city_are_in_one_band() -> None:
    for same in (("eu-west-1", "northeurope"), ("eu-central-1", "europe-west3"), ("ap-southeast-1", "asia-southeast1")):
        assert band(REGIONS[same[0]], REGIONS[same[1]]) == 0


def test_a_place_that_nobody_knows_is_farther_than_the_other_side_of_the_earth() -> None:
    assert band(Place(0, 0), Place(0, 180)) == NOWHERE - 1
    assert band(None, Place(0, 0)) == band(Place(0, 0), None) == NOWHERE
