"""``inferno price`` against a real governator."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inferno_cli.main import command
from tests.integration.inferno_cli.governing import governing
from tests.integration.inferno_governator.governators import Governator
from tests.integration.inferno_governator.nodes import batch

Ask = Callable[..., Result]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A governator process with a node that it cannot price; its address."""
    folder = tmp_path_factory.mktemp("prices")
    terms = folder / "prices.yaml"
    terms.write_text("reservations: [{name: r, count: 2, usd_per_hour: 5}]\ndiscounts: [{percent: 200}]\n", "utf-8")
    options = ("--prices", str(terms), "--azure-prices", "http://127.0.0.1:9/prices")

    async def known(running: Governator) -> None:
        await running.client.store([batch(1)])

    with governing(f"sqlite:///{folder / 'governator.db'}", *options, prepare=known) as address:
        yield address


@pytest.fixture
def ask(endpoint: str) -> Ask:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command, ["price", *arguments, "--endpoint", endpoint])

    return run


def test_ls_shows_machines_by_gpu_price_with_age_and_state(ask: Ask) -> None:
    result = ask("ls", "--gpu", "H100", "--cloud", "runpod")
    assert result.exit_code == 0, result.output
    header, first, *rest = result.stdout.splitlines()
    assert header.split()[:4] == ["$/GPU-HOUR", "$/HOUR", "GPUS", "CLOUD"]
    assert first.split()[:6] == ["$1.990", "$1.990", "1", "H100", "runpod", "*"]
    assert " d " in first
    assert len(rest) == 5
    assert "No price is known" in ask("ls", "--gpu", "H100", "--max-price", "0.01").stdout


def test_ls_writes_json_and_csv_that_import_takes(ask: Ask, tmp_path: Path) -> None:
    (one,) = json.loads(ask("ls", "--cloud", "lambda", "--gpu", "GH200", "-o", "json").stdout)
    assert (one["price_micros_per_hour"], one["as_of"], one["kind"]) == (2_290_000, "2026-09-20", "on_demand")
    table = ask("ls", "--gpu", "B200", "--on-demand", "--csv").stdout
    file = tmp_path / "prices.csv"
    file.write_text(table.replace("gpu_1x_b200_sxm6,B200", "gpu_1x_b200_sxm6,B2000"), "utf-8")
    result = ask("import", str(file))
    assert result.exit_code == 0, result.output
    assert "'B2000' is not known" in result.stdout
    assert result.stdout.splitlines()[-1].endswith("0 waits, 1 refused")
    assert f"{len(table.splitlines()) - 2} same" in result.stdout
    counts = json.loads(ask("import", str(file), "-o", "json").stdout)["counts"]
    assert counts["refused"] == 1
    missing = ask("import", str(tmp_path / "none.csv"))
    assert missing.exit_code == 1
    assert "does not exist" in missing.stderr


def test_set_says_what_became_of_a_price_and_history_tells_it_all(ask: Ask) -> None:
    machine = ("gpu_8x_v100", "--cloud", "lambda")
    waits = ask("set", machine[0], "9.00", *machine[1:])
    assert "waits: gpu_8x_v100 in lambda *: $9.000, before $6.320. It differs by +42 %" in waits.stdout
    assert "--confirm" in waits.stdout
    assert "changed" in ask("set", machine[0], "4", *machine[1:], "--confirm").stdout
    refused = ask("set", machine[0], "0", *machine[1:], "--confirm")
    assert refused.exit_code == 2
    assert "is no price" in refused.stderr
    assert ask("set", machine[0], "much", *machine[1:]).exit_code == 2
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    corrected = json.loads(ask("set", machine[0], "5", *machine[1:], "--from", hour_ago, "-o", "json").stdout)
    assert corrected["rebilled_nodes"] == 0
    history = json.loads(ask("history", *machine, "-o", "json").stdout)
    assert [each["price_micros_per_hour"] for each in history] == [6_320_000, 9_000_000, 4_000_000, 5_000_000]
    lines = ask("history", *machine).stdout.splitlines()
    assert lines[1].split()[0] == "ever"
    assert len(lines) == 5
    assert ask("history", "nothing", "--cloud", "lambda").exit_code == 1


def test_nodes_are_shown_with_why_they_cost_what_they_cost(ask: Ask) -> None:
    found = json.loads(ask("ls", "--nodes", "-o", "json").stdout)
    (node,) = found["nodes"]
    assert (node["node"], node["running"]) == ("node-1", True)
    (commitment,) = found["commitments"]
    both = commitment["used_micros_per_hour"] + commitment["unused_micros_per_hour"]
    assert both == commitment["price_micros_per_hour"] == 5_000_000
    shown = ask("ls", "--nodes").stdout
    assert "UNUSED" in shown
    assert "It is covered by the reservation r." in shown


def test_refresh_names_a_source_that_cannot_be_asked_and_fails(ask: Ask) -> None:
    result = ask("refresh", "--source", "azure")
    assert result.exit_code == 4
    assert "The source azure cannot be asked" in result.stdout
    assert "No price was refreshed" in result.stderr
    assert json.loads(ask("refresh", "--source", "azure", "-o", "json").stdout)[0]["error"]
    unknown = ask("refresh", "--source", "rumours")
    assert unknown.exit_code == 2
    assert "gpuhunt, azure, aws" in unknown.stderr
