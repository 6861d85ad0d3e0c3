from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import pytest

from inferno_proxy.orders.file import OrderFile
from inferno_proxy.orders.order import EMPTY, Book, Kind, Order, expired, steering, with_order, without
from inferno_proxy.routing.steering import Steering
from inferno_runtime.errors import Unavailable

SPLIT = {"split": {"by": "label:track", "weights": {"old": 90, "new": 10}}}
LIMIT = {"rate": {"calls": 5, "seconds": 60, "per": "address"}, "max_concurrency": 4}


def book(*orders: Order) -> Book:
    made = EMPTY
    for order in orders:
        made = with_order(made, order)
    return made


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (Order(Kind.NODE_WEIGHT, "n", "local", 0.0, factor=0.25), "local ordered 0.25 times the weight"),
        (Order(Kind.NODE_QUARANTINE, "n", "ada", 0.0, "smoke"), "ada ordered that it takes no calls (smoke)"),
        (Order(Kind.SPLIT, "m", "local", 0.0, patch=SPLIT), "local ordered shares by track: new 10 %, old 90 %"),
        (
            Order(Kind.LIMIT, "m", "local", 0.0, patch=LIMIT),
            "local ordered at most 5 calls in 60 s per address and at most 4 calls under way",
        ),
    ],
)  # fmt: skip
def test_an_order_says_what_holds_by_whose_word_and_why(order: Order, said: str) -> None:
    assert order.sentence() == said


def test_a_later_order_takes_the_place_of_the_one_before() -> None:
    half, tenth = (Order(Kind.NODE_WEIGHT, "n", "local", 0.0, factor=factor) for factor in (0.5, 0.1))
    other = Order(Kind.NODE_QUARANTINE, "n", "local", 0.0)
    made = book(half, other, tenth)
    assert list(made.values()) == [tenth, other]
    assert without(made, [other.key, (Kind.LIMIT, "m")]) == {tenth.key: tenth}


def test_what_steers_the_plan_and_what_does_not() -> None:
    made = steering(
        book(
            Order(Kind.NODE_WEIGHT, "n", "local", 0.0, factor=0.5),
            Order(Kind.NODE_QUARANTINE, "o", "local", 0.0),
            Order(Kind.MODEL_QUARANTINE, "m", "local", 0.0),
            Order(Kind.LIMIT, "m", "local", 0.0, patch=LIMIT),
        )
    )
    assert made == Steering({"n": 0.5}, frozenset({"o"}), frozenset({"m"}))


def test_an_order_expires_at_its_moment_and_one_without_never() -> None:
    soon = Order(Kind.NODE_QUARANTINE, "n", "local", 0.0, expires=10.0)
    made = book(soon, Order(Kind.NODE_QUARANTINE, "o", "local", 0.0))
    assert (expired(made, 9.9), expired(made, 10.0)) == ([], [soon.key])


def test_orders_are_kept_for_their_owner_alone_and_read_again(tmp_path: Path) -> None:
    file = OrderFile(tmp_path / "orders.json")
    assert file.read() == EMPTY
    made = book(
        Order(Kind.SPLIT, "m", "operator a", 5.0, "canary", 9.0, patch=MappingProxyType(SPLIT)),
        Order(Kind.NODE_WEIGHT, "n", "local", 6.0, factor=0.5),
    )
    file.write(made)
    assert file.read() == made
    assert (tmp_path / "orders.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[1]", '{"format": 2}', '{"format": 1, "orders": [{"kind": "x"}]}', "\xff"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, text: str) -> None:
    path = tmp_path / "orders.json"
    path.write_text(text, encoding="latin-1")
    assert OrderFile(path).read() == EMPTY
    assert (tmp_path / "orders.corrupt").read_text(encoding="latin-1") == text
    assert not path.exists()


def test_orders_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be kept"):
        OrderFile(tmp_path / "none" / "orders.json").write(EMPTY)


def test_the_file_says_it_in_plain_words(tmp_path: Path) -> None:
    OrderFile(tmp_path / "o.json").write(book(Order(Kind.NODE_WEIGHT, "n", "local", 6.0, factor=0.5)))
    (written,) = json.loads((tmp_path / "o.json").read_text())["orders"]
    assert (written["kind"], written["subject"], written["by"], written["factor"]) == ("node weight", "n", "local", 0.5)
