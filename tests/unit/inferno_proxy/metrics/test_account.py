"""Counters go on when an Envoy ends, and gauges do not."""

from __future__ import annotations

import json

import pytest

from inferno_proxy.metrics.account import Account
from inferno_proxy.metrics.translation import FAMILIES, Key

_BY_NAME = {family.name: family for family in FAMILIES}
RETRIES = Key(_BY_NAME["inferno_retries"], ("m", "grpc"))
OPEN = Key(_BY_NAME["inferno_connections"], ("public",))
ENDPOINTS = Key(_BY_NAME["inferno_endpoints"], ("m", "grpc"))


def test_counters_and_gauges_of_several_are_added_and_what_all_see_alike_is_not() -> None:
    account = Account()
    account.take("one", {RETRIES: 2, OPEN: 1, ENDPOINTS: 3})
    account.take("two", {RETRIES: 5, OPEN: 1, ENDPOINTS: 2})
    assert account.totals() == {RETRIES: 7, OPEN: 2, ENDPOINTS: 3}


def test_what_an_ended_one_counted_stays_and_what_it_held_goes() -> None:
    account = Account()
    account.take("one", {RETRIES: 2, OPEN: 1})
    account.take("two", {RETRIES: 1})
    account.end("one")
    account.end("one")
    assert account.totals() == {RETRIES: 3}
    assert list(account.living) == ["two"]


def test_a_counter_that_begins_anew_counts_on() -> None:
    account = Account()
    account.take("one", {RETRIES: 7, OPEN: 4})
    account.take("one", {})
    assert account.totals() == {RETRIES: 7}
    account.take("one", {RETRIES: 2, OPEN: 1})
    assert account.totals() == {RETRIES: 9, OPEN: 1}


def test_an_account_goes_on_from_a_file() -> None:
    account = Account()
    account.take("one", {RETRIES: 2})
    account.end("one")
    account.take("two", {RETRIES: 1, OPEN: 1})
    document = json.loads(json.dumps(account.written()))
    document["ended"].append(["inferno_from_another_version", [], "", 3])
    again = Account.read(document)
    assert again.totals() == account.totals()
    again.end("two")
    assert again.totals() == {RETRIES: 3}


@pytest.mark.parametrize("document", [{}, {"ended": {}, "living": {}}, {"ended": [], "living": []}])
def test_a_file_of_something_else_is_refused(document: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Account.read(document)
