"""``inferno forecast`` against a mesh that answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferno.governance.v1.forecast_pb2 import Forecast, ForecastScore
from inferno_runtime.errors import NotFound
from tests.integration.inferno_cli.conftest import FakeMesh, Run


@pytest.fixture
def expecting(fake: FakeMesh) -> FakeMesh:
    scores = [
        ForecastScore(name="last value", wape=0.2, pinball=0.08, judged=144, why="theta beats it"),
        ForecastScore(name="theta", wape=0.18, pinball=0.07, judged=144, chosen=True, why="it errs by 18%"),
        ForecastScore(name="same time last week", why="it wants more history"),
    ]
    about: dict[str, Any] = {"rate": 12.34, "expected": 15.0, "quantile": 0.75, "boot_seconds": 600.0}
    fake.forecasts = [Forecast(model="filetype", scores=scores, **about), Forecast(model="other", **about)]
    return fake


def test_what_is_expected_is_shown_with_who_says_so(run: Run, expecting: FakeMesh) -> None:
    result = run("forecast")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert rows[0] == ["filetype", "12.34", "15", "75%", "600", "s", "theta"]
    assert rows[1][-2:] == ["last", "value"]


def test_scores_say_why_something_was_chosen_and_json_has_all(run: Run, expecting: FakeMesh) -> None:
    lines = run("forecast", "--scores", "--model", "filetype").stdout.splitlines()
    assert expecting.seen[-1].model == "filetype"
    assert lines[2].split() == ["filetype", "theta", "18.0%", "7.0%", "144", "it", "errs", "by", "18%"]
    assert "-" in lines[3]
    first, other = json.loads(run("forecast", "-o", "json").stdout)
    assert (first["by"], first["scores"][0]["pinball"], first["scores"][2]["wape"]) == ("theta", 0.08, None)
    assert (other["by"], other["scores"]) == ("last value", [])


def test_without_pools_or_history_it_says_so(run: Run, fake: FakeMesh) -> None:
    assert "the governator has no pool of nodes" in run("forecast").stdout
    fake.forecasts = [Forecast(model="m")]
    assert "too little is known" in run("forecast", "--scores").stdout
    fake.bill_error = NotFound("No pool serves 'x'.", reason="UNKNOWN_MODEL")
    result = run("forecast", "--model", "x")
    assert result.exit_code != 0
    assert "No pool serves 'x'." in result.stderr
