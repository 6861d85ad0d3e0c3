"""One value has one text, and comes back from it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.decisions import canonical
from inferno_governator.decisions.fleet import FleetFacts, ModelFacts, NodeFacts, PoolFacts
from inferno_governator.decisions.history import Action
from inferno_governator.decisions.proposal import Ruling

VALUES = st.one_of(*(st.from_type(each) for each in (FleetFacts, Action, Ruling, NodeFacts, PoolFacts, ModelFacts)))


@given(VALUES)
def test_what_is_read_is_what_was_written(value: object) -> None:
    try:
        text = canonical.text(canonical.plain(value))
    except (ValueError, UnicodeEncodeError):
        return  # an infinity, which is refused
    again = canonical.read(type(value), json.loads(text))
    assert canonical.text(canonical.plain(again)) == text
    assert again == value


def test_a_number_that_is_whole_is_written_as_the_field_has_it() -> None:
    assert '"at":3.0' in canonical.text(canonical.plain(FleetFacts(at=3)))


def test_an_older_text_is_read_with_the_defaults_of_newer_fields() -> None:
    assert canonical.read(FleetFacts, {"at": 1.0, "gone": 2}) == FleetFacts(1.0)


def test_an_infinity_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical.text(canonical.plain(FleetFacts(at=float("inf"))))
