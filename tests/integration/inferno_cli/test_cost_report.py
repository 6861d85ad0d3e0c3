"""``inferno cost report``: what is asked for, and how the answer is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inferno.governance.v1 import report_pb2
from inferno_governator import cost_wire
from inferno_governator.analysis.breakdown import Dimension
from inferno_governator.analysis.cost_report import Question, Reporter
from inferno_governator.analysis.periods import Period
from inferno_governator.reports.figures import MINUS
from inferno_runtime.errors import InvalidInput, Unsupported
from tests.integration.inferno_cli.conftest import FakeMesh, Run
from tests.unit.inferno_governator.items import MINUTE, idle, item


@pytest.fixture
def explained(fake: FakeMesh) -> FakeMesh:
    day = 1440
    asked = Question(
        Period(MINUTE, MINUTE + day), (Dimension.MODEL,), compare=Period(MINUTE - day, MINUTE), timeline=True
    )
    reporter = Reporter(asked)
    reporter.add([item(requests=1000), idle(hours=2)])
    reporter.add_before([item(requests=1000, hours=2), idle(hours=2)])
    fake.explained = cost_wire.encode(reporter.report())
    return fake


def test_a_report_is_a_table_with_its_total_and_the_causes_of_its_change(run: Run, explained: FakeMesh) -> None:
    result = run("cost", "report", "--compare", "previous")
    assert result.exit_code == 0, result.stderr
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "MODEL COST CHANGE SHARE REQUESTS PER REQUEST PER 1K INFERENCES" in rows
    assert f"llama $6.88 {MINUS}$6.88 33.3 % 1,000 $0.006880 -" in rows
    assert "(idle) $13.76 $0.00 66.7 % 0 - -" in rows
    assert f"total $20.64 {MINUS}$6.88 100.0 % 1,000 $0.02064 -" in rows
    assert "The cost fell by $6.88 (25.0 %), from $27.52 to $20.64." in rows
    assert rows[0] == "2026-06-21 00:00 to 2026-06-22 00:00 UTC"


def test_what_is_written_is_what_is_asked(run: Run, explained: FakeMesh) -> None:
    arguments = ("--period", "last-month", "--by", "team, model", "--top", "5", "--compare", "2026-09")
    filters = ("--where", "region=us", "--where", "region=eu", "--where", "spot=spot")
    assert run("cost", "report", *arguments, *filters).exit_code == 0
    assert explained.seen[-1] == report_pb2.ExplainCostRequest(
        period=report_pb2.CostPeriod(name="last-month"),
        group_by=[report_pb2.COST_DIMENSION_TEAM, report_pb2.COST_DIMENSION_MODEL],
        filters=[
            report_pb2.CostFilter(dimension=report_pb2.COST_DIMENSION_REGION, values=["eu", "us"]),
            report_pb2.CostFilter(dimension=report_pb2.COST_DIMENSION_SPOT, values=["spot"]),
        ],
        line_limit=5,
        compare=report_pb2.CostPeriod(name="2026-09"),
    )


def test_json_goes_to_standard_output_and_pages_to_files(run: Run, explained: FakeMesh, tmp_path: Path) -> None:
    document = json.loads(run("cost", "report", "-o", "json").stdout)
    assert document["change"]["difference_micros"] == -6_880_000
    assert run("cost", "report", "--format", "markdown").stdout.startswith("# Cost, 2026-06-21")
    page = tmp_path / "report.html"
    result = run("cost", "report", "--format", "html", "--out", str(page))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"Wrote {page}\n")
    assert page.read_text().count("<svg") == 2
    assert explained.seen[-1].timeline


def test_a_file_that_cannot_be_written_is_named(run: Run, explained: FakeMesh, tmp_path: Path) -> None:
    result = run("cost", "report", "--out", str(tmp_path / "no" / "folder"))
    assert result.exit_code != 0
    assert result.stderr.startswith(f"error[OUTPUT_FAILED] {tmp_path}/no/folder cannot be written: No such file")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--by", "colour"), "'colour' is no dimension of a bill."),
        (("--where", "team"), "'team' is no filter."),
        (("--where", "colour=red"), "'colour' is no dimension of a bill."),
    ],
)
def test_what_is_written_wrong_is_told(run: Run, explained: FakeMesh, arguments: tuple[str, ...], says: str) -> None:
    result = run("cost", "report", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_what_the_governator_refuses_is_told(run: Run, fake: FakeMesh) -> None:
    fake.bill_error = InvalidInput("'soon' is no period.", reason="BAD_PERIOD", fix="Write today.")
    result = run("cost", "report", "--period", "soon")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, "error[BAD_PERIOD] 'soon' is no period.")


def test_a_mesh_without_a_governator_is_told(run: Run, fake: FakeMesh) -> None:
    fake.bill_error = Unsupported("nothing is served", reason="UNIMPLEMENTED")
    assert "keeps no bill" in run("cost", "report").stderr
