"""``inferno decisions`` against a real governator."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inferno_cli.main import command
from tests.integration.inferno_cli.governing import governing
from tests.waiting import eventually_sync

Ask = Callable[..., Result]
# It does not act: nothing of it is started.
SETTINGS = """
governator:
  mode: advise
  decide_seconds: 0.1
  local_dir: {folder}
  pools:
    small: {{provider: local, models: [m], min: 1, max: 2, price_per_hour: 1.5, options: {{command: sleep 1000}}}}
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A governator process that advises; its address."""
    folder = tmp_path_factory.mktemp("decisions")
    file = folder / "inferno.yaml"
    file.write_text(SETTINGS.format(folder=folder / "nodes"), "utf-8")
    with governing(f"sqlite:///{folder / 'governator.db'}", "--config", str(file)) as address:
        yield address


@pytest.fixture
def ask(endpoint: str) -> Ask:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command, ["decisions", *arguments, "--endpoint", endpoint])

    return run


def test_what_waits_is_shown_explained_approved_and_made_again(ask: Ask, tmp_path: Path) -> None:
    def waits() -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(ask("ls", "--waiting", "-o", "json").stdout)
        return found

    number = str(eventually_sync(waits, 60, "something waits")[0]["number"])
    listed = ask("ls")
    assert "below_minimum" in listed.stdout
    assert "waits for approval" in listed.stdout
    assert "Rule below_minimum would start a node of pool small" in ask("explain", number).stdout
    approved = ask("approve", number)
    assert approved.exit_code == 0
    assert approved.stdout.startswith("Approved: start small-")
    eventually_sync(lambda: "done (rehearsed)" in ask("ls").stdout, 60, "it is done")
    shown = json.loads(ask("show", number).stdout)
    kinds = [each["kind"] for each in shown["entries"]]
    assert kinds == ["decision", "approval", "outcome"]
    assert shown["entries"][0]["content"]["facts"]["pools"][0]["micros_per_hour"] == 1_500_000
    replayed = ask("replay")
    assert replayed.exit_code == 0
    assert "(100 %)" in replayed.stdout
    assert "is whole" in replayed.stdout
    assert ask("replay", number).stdout.startswith("1 of 1 decisions come out the same")


def test_an_auditor_is_told_who_did_what_and_that_the_ledger_is_whole(ask: Ask) -> None:
    assert ask("mode", "observe", "--reason", "an | audit").exit_code == 0
    assert ask("mode").stdout == "observe; pools that act: none\n"
    told = ask("report")
    assert told.exit_code == 0
    assert "chain of hashes is whole" in told.stdout
    assert r"the mode is observe: an \| audit" in told.stdout
    assert "No proxy was asked" in told.stdout
    document = json.loads(ask("report", "--format", "json").stdout)
    assert document["whole"]
    assert document["changes"][0]["who"] == "the settings"
    page = ask("report", "--format", "html").stdout
    assert page.startswith("<!doctype html>")
    assert "an | audit" in page


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "99999"), 1, "There is no decision 99999."),
        (("approve", "99999"), 1, "There is no decision 99999."),
        (("mode", "guess"), 2, "observe"),
        (("show", "0"), 2, "0"),
    ],
)
def test_what_cannot_be_is_one_sentence(ask: Ask, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = ask(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
