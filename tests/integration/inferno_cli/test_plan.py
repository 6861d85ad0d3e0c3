"""``inferno plan`` against a real governator."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.inferno_governator.governators import governator_process

FILE = """
models:
  - {model: chat, requests_per_second: 5, sizes: [{input_tokens: 100, output_tokens: 10}]}
curves:
  - {gpu: L4, grid: grid.json}
offers:
  - {cloud: own, region: here, instance_type: box, gpu: L4, usd_per_hour: 1.5}
choice: {clouds: [none]}
days: [4, 5, 5, 4, 5]
"""


async def _plan(endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "inferno_cli.main", "plan", *arguments, "--endpoint", endpoint]
    return await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60, check=False)


async def test_a_file_is_planned_compared_and_grown_as_a_table_and_as_json(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(FILE, "utf-8")
    (tmp_path / "grid.json").write_text('{"100,10": [2.0, 8, 50, 10], "200,10": null}', "utf-8")
    async with governator_process(f"sqlite:///{tmp_path}/governator.db") as running:
        endpoint = str(json.loads(running.facts)["address"])
        told = await _plan(endpoint, str(file))
        assert (told.returncode, told.stderr) == (0, "")
        assert " ".join(told.stdout.splitlines()[1].split()) == "3 box own here 1 × L4 $4.500 100% of chat"
        assert "$4.500 an hour. No fleet costs less than $4.500: a gap of 0.00%." in told.stdout
        document = json.loads((await _plan(endpoint, str(file), "-o", "json")).stdout)
        assert (document["micros_per_hour"], document["nodes"][0]["count"]) == (4_500_000, 3)
        rows = json.loads((await _plan(endpoint, str(file), "--compare", "region", "-o", "json")).stdout)
        assert {row["choice"] for row in rows} == {"everything", "own", "own here"}
        months = json.loads((await _plan(endpoint, str(file), "--growth", "5", "--months", "2", "-o", "json")).stdout)
        assert [each["month"] for each in months] == [0, 1, 2]
        poor = await _plan(endpoint, str(file), "--budget", "3")
        assert (poor.returncode, poor.stdout) == (2, "")
        assert "the budget ($3.00 an hour; without it the plan costs $4.50 an hour)" in poor.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: [", "not valid YAML"),
        ("- 1", "it is no mapping"),
        ("modles: []", "modles"),
        ("curves: [{gpu: L4, grid: none.json}]", "none.json cannot be read"),
        ("curves: 3", "no list of mappings"),
        ("days: many", "no list of numbers"),
    ],
)
async def test_a_file_that_is_no_question_is_refused_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(text, "utf-8")
    refused = await _plan("127.0.0.1:9", str(file))
    assert refused.returncode in (1, 2)
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
