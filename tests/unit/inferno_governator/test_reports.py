"""Reports as text: what is said, that it adds up, and that names cannot break out of it."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given

from inferno_governator.analysis.breakdown import Dimension
from inferno_governator.analysis.change import account, change
from inferno_governator.analysis.cost_report import CostReport, Question, Reporter
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.analysis.periods import Period
from inferno_governator.reports.document import document
from inferno_governator.reports.figures import MINUS
from inferno_governator.reports.html import html
from inferno_governator.reports.markdown import markdown
from inferno_governator.reports.sheet import columns
from inferno_governator.reports.words import explanation, remarks
from tests.unit.inferno_governator.items import H100, L4, MINUTE, bills, idle, item
from tests.unit.inferno_governator.test_change import priced

DAY = Period(MINUTE, MINUTE + 1440)
BEFORE = Period(MINUTE - 1440, MINUTE)
EVIL = "<script>alert('&|`')</script>"


def report(now: list[Item], before: list[Item], *by: Dimension) -> CostReport:
    reporter = Reporter(Question(DAY, by, compare=BEFORE, timeline=True))
    reporter.add(now)
    reporter.add_before(before)
    return reporter.report()


def amount(shown: str) -> Decimal:
    return Decimal(re.sub(r"[$,+]", "", shown).replace(MINUS, "-"))


@given(bills, bills)
def test_rounded_lines_add_up_to_the_rounded_total(now: list[Item], before: list[Item]) -> None:
    sheet = {column.title: column for column in columns(report(now, before, Dimension.NODE, Dimension.SPOT))}
    for title in ("cost", "change"):
        assert sum(map(amount, sheet[title].cells)) == amount(sheet[title].total)
    shares = sheet.get("share")
    if shares and shares.cells[0] != "-":
        assert sum(Decimal(share.removesuffix(" %").replace(MINUS, "-")) for share in shares.cells) == 100


@given(bills, bills)
def test_rounded_causes_add_up_from_one_rounded_bill_to_the_other(now: list[Item], before: list[Item]) -> None:
    told = explanation(change(account(before), account(now)))
    assert told.before_micros + sum(cause.micros for cause in told.causes) == told.after_micros
    for cause in told.causes:
        assert not cause.parts or sum(micros for _, micros in cause.parts) == cause.micros
    assert len(told.lines()) == 4


def test_a_change_is_told_in_words() -> None:
    before = [item(requests=100, hours=10), idle(hours=10)]
    after = [item(facts=priced(H100, 6_054_400), requests=150, hours=15), idle(facts=priced(H100, 6_054_400), hours=5)]
    told = explanation(change(account(before), account(after)))
    assert [told.headline(), *told.lines()] == [
        "The cost fell by $16.51 (12.0 %), from $137.60 to $121.09.",
        f"Prices fell 12.0 %: {MINUS}$16.97",
        "Demand rose 50.0 %: +$54.12",
        f"Utilisation rose from 50.0 % to 75.0 %: {MINUS}$53.66 (time without work {MINUS}$53.66)",
        "Mix did not change: $0.00",
    ]


def test_what_was_never_there_is_told_without_percentages() -> None:
    told = explanation(change(account([]), account([item(requests=1)])))
    assert told.headline() == "The cost rose by $6.880, from $0.000 to $6.880."
    assert told.lines()[:2] == ["Prices did not change: $0.000", "Demand (nothing to compare with): +$6.880"]


def test_idleness_and_overhead_are_named_and_the_unknown_is_unknown() -> None:
    bill = [item(team="search"), item(), idle(), item("b", L4, purpose=Purpose.OVERHEAD)]
    names = columns(report(bill, [], Dimension.MODEL, Dimension.TEAM))[:2]
    assert [*zip(*(column.cells for column in names), strict=True)] == [
        ("llama", "(unknown)"), ("llama", "search"), ("(idle)", "(idle)"), ("(overhead)", "(overhead)"),
    ]  # fmt: skip


def test_unit_costs_are_of_the_line_and_of_the_whole() -> None:
    bill = [item(requests=1_000, errors=2, inferences=4_000, input_tokens=80_000, output_tokens=20_000), idle()]
    sheet = {column.title: column for column in columns(report(bill, [], Dimension.MODEL))}
    assert (sheet["per request"].cells[0], sheet["per request"].total) == ("$0.006880", "$0.01376")
    assert (sheet["per 1k tokens"].cells, sheet["per 1k tokens"].total) == (["$0.06880", "-"], "$0.1376")
    assert (sheet["tokens"].cells, sheet["tokens"].total) == (["100,000", "0"], "100,000")
    assert sheet["per 1k inferences"].cells[0] == "$1.720"
    assert sheet["errors"].total == "2"


def test_tokens_of_teams_say_that_they_are_shared_and_those_of_models_that_they_are_counted() -> None:
    bill = [item(team="search", output_tokens=20), item(team="ads", output_tokens=30)]
    of_models, of_teams = report(bill, [], Dimension.MODEL), report(bill, [], Dimension.TEAM)
    assert [document(each)["tokens"] for each in (of_models, of_teams)] == ["counted", "shared"]
    assert "tokens" in {column.title for column in columns(of_models)}
    (shared,) = (column for column in columns(of_teams) if column.title == "tokens, shared")
    assert sorted(shared.cells) == ["20", "30"]
    assert remarks(of_models) == []
    assert "shares of what their models counted" in remarks(of_teams)[0]
    assert remarks(report([item(team="search")], [], Dimension.TEAM)) == []


class _Page(HTMLParser):
    """What a browser would fetch or run, and whether every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href") or name.startswith("on")]
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_whole_needs_nothing_else_and_runs_nothing() -> None:
    bill = [item(EVIL, model=EVIL, team=EVIL, requests=5), idle(start_minute=MINUTE + 600)]
    page = html(report(bill, [item()], Dimension.MODEL, Dimension.TEAM))
    seen = _Page()
    seen.feed(page)
    assert not seen.open
    assert not seen.outside
    assert "script" not in seen.tags
    assert "alert" in page
    assert page.count("<svg") == seen.tags.count("desc") == 2
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert ElementTree.fromstring(drawing).get("role") == "img"  # noqa: S314 - we made it ourselves
    assert seen.tags.count("table") == 3


def test_names_cannot_break_a_table_in_markdown() -> None:
    text = markdown(report([item(model="a|b`c*<d>")], [], Dimension.MODEL))
    (line,) = [line for line in text.splitlines() if "a\\|b" in line]
    assert r"a\|b\`c\*\<d\>" in line
    assert "# Cost, 2026-06-21 00:00 to 2026-06-22 00:00 UTC" in text
    assert "- Demand" in text


@pytest.mark.parametrize("by", [(), (Dimension.MODEL,)])
def test_an_empty_bill_is_a_report_too(by: tuple[Dimension, ...]) -> None:
    made = report([], [], *by)
    assert "The cost did not change" in markdown(made)
    assert "<h1>" in html(made)
    assert document(made)["lines"] == []


@given(bills, bills)
def test_json_is_exact(now: list[Item], before: list[Item]) -> None:
    read = json.loads(json.dumps(document(report(now, before, Dimension.MODEL))))
    assert sum(line["cost_micros"] for line in read["lines"]) == read["total"]["cost_micros"] == read["bill_micros"]
    moved = read["change"]
    parts = sum(moved[f"{cause}_micros"] for cause in ("price", "demand", "utilization", "mix"))
    assert parts == moved["difference_micros"] == moved["after_micros"] - moved["before_micros"]


def test_nodes_without_a_price_are_remarked_on() -> None:
    free = report([item(facts=priced(H100, 0))], [])
    assert "None of these nodes has a price" in markdown(free)
    assert "None of these nodes has a price" in html(free)
    assert "has a price" not in markdown(report([item()], []))
