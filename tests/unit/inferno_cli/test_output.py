from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_cli import output
from inferno_cli.output import Column, money, table

COLUMNS = (Column("name", "NAME"), Column("n", "COUNT", right=True, colour=lambda n: "red" if n else None))


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows: list[output.Row] = [{"name": "a", "n": 5}, {"name": "longer", "n": 12345}, {"name": None}]
    assert table(COLUMNS, rows).splitlines() == ["NAME    COUNT", "a           5", "longer  12345", "-           -"]


def test_colours_do_not_move_columns() -> None:
    plain = table(COLUMNS, [{"name": "a", "n": 5}])
    coloured = table(COLUMNS, [{"name": "a", "n": 5}], colours=True)
    assert coloured != plain
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


def test_an_empty_table_is_its_titles() -> None:
    assert table(COLUMNS, []) == "NAME  COUNT"


def test_json_off_a_terminal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": ["é"]})
    written = capsys.readouterr().out
    assert written == '{"a": ["é"]}\n'


def test_json_on_a_terminal_is_indented(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.print_json({"a": 1})
    written = capsys.readouterr().out
    assert json.loads(written) == {"a": 1}
    assert written.count("\n") == 3


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    terminal: bool, environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    assert output.coloured(environment) is coloured


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "$0"), (1, "$0.000001"), (12, "$0.000012"), (123_456, "$0.1235"), (99_995, "$0.10000"),
        (-2_500_000, "-$2.500"), (1_000_000, "$1.000"), (12_345_678, "$12.35"),
        (999_999_999, "$1,000.0"), (123_456_789_012, "$123,457"),
    ],
)  # fmt: skip
def test_money_has_four_significant_digits(micros: int, text: str) -> None:
    assert money(micros) == text


@given(st.integers(-(10**15), 10**15))
def test_money_is_never_scientific_and_never_off_by_more_than_its_last_digit(micros: int) -> None:
    text = money(micros)
    assert re.fullmatch(r"-?\$\d{1,3}(,\d{3})*(\.\d+)?", text)
    value = float(text.replace("$", "").replace(",", "")) * 1_000_000
    assert abs(value - micros) <= max(1, abs(micros) * 0.0006)
