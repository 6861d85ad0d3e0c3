"""Orders over settings: what follows, and what contradicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from inferno_proxy.orders.order import EMPTY, Kind, Order, with_order
from inferno_proxy.orders.overlay import laid
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import Origin
from inferno_runtime.errors import InvalidInput
from inferno_runtime.settings import Loaded

SPLIT = {"split": {"by": "version", "weights": {"1": 90, "2": 10}}}


def order(patch: Mapping[str, Any], model: str = "m", at: float = 0.0, kind: Kind = Kind.LIMIT) -> Order:
    return Order(kind, model, "operator ada", at, patch=patch)


def read(folder: Path, text: str) -> Loaded[ProxySettings]:
    (folder / "inferno.yaml").write_text(text)
    return Origin(folder / "inferno.yaml").read({})


def test_without_orders_the_settings_stay_what_they_are(tmp_path: Path) -> None:
    found = read(tmp_path, "proxy: {region: a}\n")
    assert laid(found, EMPTY).whole() == found


def test_an_order_wins_over_the_file_and_leaves_the_rest(tmp_path: Path) -> None:
    found = read(tmp_path, "proxy:\n  models:\n    m: {timeout: 5, max_concurrency: 9}\n    n: {retries: 1}\n")
    book = with_order(EMPTY, order({"max_concurrency": 2}))
    book = with_order(book, order(SPLIT, kind=Kind.SPLIT))
    made = laid(found, book).whole()
    m = made.value.models["m"]
    assert (m.timeout, m.max_concurrency, m.split and dict(m.split.weights)) == (5, 2, {"1": 90, "2": 10})
    assert made.value.models["n"] == found.value.models["n"]
    assert made.where("models", "m") == "the split of operator ada"
    assert made.where("models", "n") == f"{tmp_path / 'inferno.yaml'}:4"


def test_a_model_without_an_entry_gets_one_that_says_no_more_than_the_order(tmp_path: Path) -> None:
    found = read(tmp_path, "proxy:\n  models:\n    '*': {retries: 1}\n")
    made = laid(found, with_order(EMPTY, order({"max_concurrency": 2}))).whole().value
    assert made.routing.traffic.of("m").retries == 1
    assert made.routing.traffic.of("m").max_concurrency == 2


@pytest.mark.parametrize(
    ("text", "patch", "why"),
    [
        ("proxy: {}\n", {"max_concurrency": -1}, "proxy.models.m.max_concurrency"),
        ("proxy: {aliases: {m: n}}\n", {"max_concurrency": 1}, "'m' is an alias"),
        ("proxy: {}\n", {"rate": {"calls": 1, "scope": "global"}}, "needs proxy.rate_limit_service"),
    ],
)
def test_a_contradiction_names_the_order_and_what_it_is_laid_over(
    tmp_path: Path, text: str, patch: Mapping[str, Any], why: str
) -> None:
    bad, good = order(patch), order({"max_concurrency": 3}, "other")
    made = laid(read(tmp_path, text), with_order(with_order(EMPTY, bad), good))
    assert made.settings.value.models["other"].max_concurrency == 3
    assert [each for each, _ in made.misfits] == [bad]
    with pytest.raises(InvalidInput, match="the limit of operator ada on 'm'") as refused:
        made.whole()
    assert why in refused.value.message
    assert "inferno mesh clear m" in refused.value.fix
