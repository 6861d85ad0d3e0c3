"""``inferno cost export``: the bill as it goes to other programs."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from pyarrow import parquet

from inferno.governance.v1 import report_pb2
from inferno_runtime.errors import Unavailable, Unsupported
from tests.integration.inferno_cli.conftest import FakeMesh, Run
from tests.unit.inferno_governator.items import L4, idle, item

BILL = [item(f"n{at}", team="search", requests=at) for at in range(30)] + [idle("n1", L4)]


@pytest.fixture
def billed(fake: FakeMesh) -> FakeMesh:
    fake.items = BILL
    return fake


def test_csv_goes_to_standard_output(run: Run, billed: FakeMesh) -> None:
    result = run("cost", "export", "--period", "2026-06", "--where", "team=search", "--account", "acct-1")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert sum(Decimal(each["BilledCost"]) for each in rows) * 1_000_000 == sum(each.cost_micros for each in BILL)
    assert {each["BillingAccountId"] for each in rows} == {"acct-1"}
    assert json.loads(rows[0]["Tags"])["team"] == "search"
    assert billed.seen[-1] == report_pb2.ListCostItemsRequest(
        period=report_pb2.CostPeriod(name="2026-06"),
        filters=[report_pb2.CostFilter(dimension=report_pb2.COST_DIMENSION_TEAM, values=["search"])],
    )


def test_a_file_is_written_whole_and_its_sum_told(run: Run, billed: FakeMesh, tmp_path: Path) -> None:
    out = tmp_path / "bill.parquet"
    result = run("cost", "export", "--format", "parquet", "--out", str(out), "--provider", "Example", "--hourly")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == f"Wrote 31 rows, $207.2, to {out}\n"
    table = parquet.read_table(out)
    assert sum(table["BilledCost"].to_pylist()) * 1_000_000 == sum(each.cost_micros for each in BILL)
    assert set(table["ProviderName"].to_pylist()) == {"Example", "aws"}
    assert billed.seen[-1].hourly


def test_parquet_needs_a_file(run: Run, billed: FakeMesh) -> None:
    result = run("cost", "export", "--format", "parquet")
    assert (result.exit_code, billed.seen) == (2, [])
    assert "Name it with --out FILE." in result.stderr


def test_a_file_that_cannot_be_written_is_named(run: Run, billed: FakeMesh, tmp_path: Path) -> None:
    result = run("cost", "export", "--out", str(tmp_path / "no" / "bill.csv"))
    assert result.exit_code != 0
    assert f"{tmp_path}/no/bill.csv cannot be written: No such file or directory." in result.stderr


def test_an_export_that_is_cut_off_leaves_no_file(run: Run, billed: FakeMesh, tmp_path: Path) -> None:
    billed.bill_error = Unavailable("The store cannot be read now.", reason="STORE_AWAY")
    result = run("cost", "export", "--out", str(tmp_path / "bill.csv"))
    assert (result.exit_code, list(tmp_path.iterdir())) == (4, [])
    assert "The store cannot be read now." in result.stderr


def test_a_mesh_without_a_governator_is_told(run: Run, fake: FakeMesh) -> None:
    fake.bill_error = Unsupported("nothing is served", reason="UNIMPLEMENTED")
    assert "keeps no bill" in run("cost", "export").stderr
