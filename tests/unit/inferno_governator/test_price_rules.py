"""Which prices are believed, by hand-made prices and by three years of real ones."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import pytest

from inferno_governator.prices import table
from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.offers import Kind, Offer, OfferKey, Quote, micros
from inferno_governator.prices.rules import Rules, State, aged, judge
from inferno_governator.prices.taking import Taken, When, take

TODAY = date(2026, 9, 1)
P5 = Offer(OfferKey("aws", "us-east-1", "p5.48xlarge", Kind.ON_DEMAND), "H100", 8, 80)
DATA = Path(__file__).parents[4] / "shared" / "data" / "prices" / "gpu_price_history_changes.csv"
# A few lines of real history (AWS and Azure price lists), so that the rules meet real moves wherever the tests run.
HISTORY = """\
2023-09-18,aws,us-east-1,p5.48xlarge,on_demand,98.32
2024-04-15,aws,us-east-1,g6.xlarge,on_demand,0.8048
2025-01-20,aws,us-east-1,p5en.48xlarge,on_demand,84.80
2025-06-23,aws,us-east-1,p5.48xlarge,on_demand,55.04
2025-06-23,aws,us-east-1,p5en.48xlarge,on_demand,63.296
"""


def quote(usd: str, day: date = TODAY, source: str = "list", offer: Offer = P5) -> Quote:
    return Quote(offer, micros(usd), day, source)


def when(day: date = TODAY) -> When:
    minute = (day - date(1970, 1, 1)).days * 1440
    return When(day, minute, minute * 60_000_000)


@pytest.mark.parametrize(
    ("usd", "day", "why"),
    [
        ("0", TODAY, "no price"),
        ("-1", TODAY, "no price"),
        ("0.08", TODAY, "leaves the GPU out"),
        ("9832", TODAY, "of another unit"),
        ("55.04", TODAY + timedelta(days=3), "which is not yet"),
        ("55.04", TODAY - timedelta(days=40), "is of 2026-08-01 already"),
    ],
)
def test_what_can_be_no_price_is_refused_with_a_reason(usd: str, day: date, why: str) -> None:
    current = quote("55.04", date(2026, 8, 1))
    verdict = judge(quote(usd, day), current, (), TODAY, Rules())
    assert verdict.state is State.REFUSED
    assert why in verdict.reason


def test_a_host_without_its_gpus_is_no_price_of_them() -> None:
    host = Offer(OfferKey("gcp", "us-central1", "a2-highgpu-1g", Kind.ON_DEMAND), "A100", 1, 40)
    assert judge(quote("0.739", offer=host), None, (), TODAY, Rules()).state is State.REFUSED
    assert judge(quote("3.67", offer=host), None, (), TODAY, Rules()).state is State.OK


def test_a_price_grows_stale() -> None:
    rules = Rules(max_age_days=10)
    assert aged(quote("55", TODAY - timedelta(days=10)), TODAY, rules).state is State.OK
    verdict = aged(quote("55", TODAY - timedelta(days=11)), TODAY, rules)
    assert verdict == (State.STALE, "It is 11 days old, and 10 are allowed.")


@pytest.mark.parametrize(("usd", "state"), [("71.5", State.OK), ("71.6", State.JUMPED), ("38.4", State.JUMPED)])
def test_a_move_of_more_than_the_bound_waits(usd: str, state: State) -> None:
    assert judge(quote(usd), quote("55"), (), TODAY, Rules()).state is state


def test_a_jump_counts_once_a_person_another_source_or_a_later_day_agrees() -> None:
    old, new = quote("98.32", TODAY - timedelta(days=30)), quote("55.04")
    assert judge(new, old, [], TODAY, Rules()).state is State.JUMPED
    assert judge(new, old, [new], TODAY, Rules()).state is State.JUMPED, "the same again is no second witness"
    assert judge(new, old, [quote("55.50", source="other")], TODAY, Rules()).state is State.OK
    assert judge(new, old, [quote("55.04", TODAY - timedelta(days=1))], TODAY, Rules()).state is State.OK
    assert judge(new, old, [quote("80", source="other")], TODAY, Rules()).state is State.JUMPED
    assert judge(new, old, [], TODAY, Rules(), confirmed=True).state is State.OK
    assert judge(quote("0"), old, [], TODAY, Rules(), confirmed=True).state is State.REFUSED


def test_taking_prices_keeps_the_one_in_force_until_the_jump_is_confirmed() -> None:
    book = PriceBook()
    days = [TODAY + timedelta(days=each) for each in range(5)]

    def told(usd: str, day: date) -> Taken:
        (outcome,) = take([quote(usd, day)], book, when(day), Rules())
        return outcome.taken

    assert told("98.32", days[0]) is Taken.NEW
    assert told("98.32", days[1]) is Taken.SAME
    assert told("55.04", days[2]) is Taken.WAITS
    assert told("55.04", days[2]) is Taken.WAITS
    entry = book.entry(P5.key)
    assert entry is not None
    assert [each.quote.micros for each in entry.waiting] == [55_040_000]
    assert told("55.04", days[3]) is Taken.CHANGED
    assert not entry.waiting
    in_force = [entry.at(when(day).minute) for day in days]
    assert [each.quote.micros for each in in_force if each] == [98_320_000] * 3 + [55_040_000] * 2
    before = entry.at(0)
    assert before is not None, "the first price that is known is the best guess for the time before"


def replay(rows: Iterable[dict[str, str]]) -> tuple[Counter[Taken], set[tuple[str, str]]]:
    """Take a history of prices in, day by day; how many became what, and which machines jumped on which day."""
    known = {(each.offer.key.cloud, each.offer.key.instance_type): each.offer for each in table.bundled()}
    book, taken, jumped = PriceBook(), Counter[Taken](), set[tuple[str, str]]()
    for row in rows:
        like = known.get((row["cloud"], row["instance_type"]))
        if like is None:
            continue
        key = like.key._replace(region=row["region"], kind=Kind(row["kind"]))
        offer = Offer(key, like.gpu, like.gpu_count, like.gpu_memory_gb)
        day = date.fromisoformat(row["as_of"])
        (outcome,) = take([Quote(offer, micros(row["usd_per_hour"]), day, "list")], book, when(day), Rules())
        taken[outcome.taken] += 1
        if outcome.taken is Taken.WAITS:
            jumped.add((row["instance_type"], row["as_of"]))
    return taken, jumped


def rows_of(text: str) -> list[dict[str, str]]:
    names = ("as_of", "cloud", "region", "instance_type", "kind", "usd_per_hour")
    return [dict(zip(names, each, strict=True)) for each in csv.reader(text.splitlines())]


def test_a_real_drop_of_44_per_cent_is_flagged_and_one_of_25_is_taken() -> None:
    taken, jumped = replay(rows_of(HISTORY))
    assert jumped == {("p5.48xlarge", "2025-06-23")}
    assert taken == {Taken.NEW: 3, Taken.CHANGED: 1, Taken.WAITS: 1}


@pytest.mark.skipif(not DATA.exists(), reason=f"the history of real prices is not here: {DATA.name}")
def test_three_years_of_real_prices() -> None:
    taken, jumped = replay(rows_of(DATA.read_text("utf-8").split("\n", 1)[1]))
    print(f"{taken.total()} real price changes: " + ", ".join(f"{n} {each.value}" for each, n in taken.items()))
    assert ("p5.48xlarge", "2025-06-23") in jumped
    assert ("p4d.24xlarge", "2025-06-23") in jumped
    # Moves within the bound are the rule: a bound that stops most of what happens would be switched off.
    assert taken[Taken.CHANGED] > 3 * (taken[Taken.WAITS] + taken[Taken.REFUSED])
    assert taken[Taken.NEW] > 500
