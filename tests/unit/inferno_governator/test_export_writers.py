from __future__ import annotations

import csv
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from pyarrow import parquet

from inferno_governator.export import writers
from inferno_governator.export.focus import Origin, columns, rows
from inferno_governator.export.writers import check_parquet, whole_file
from inferno_runtime.errors import Unsupported
from tests.unit.inferno_governator.items import L4, MINUTE, idle, item

COLUMNS = columns(Origin())
BILL = [
    item(f"n{at}", hours=0.37 * at, team='a "quoted", team', model="line\nbreak", start_minute=MINUTE + at, requests=at)
    for at in range(1, 60)
] + [idle("n1", L4, hours=1.3)]
COSTS = sum(each.cost_micros for each in BILL)


def write(path: Path, form: str) -> None:
    with whole_file(path, form, COLUMNS) as writer:
        for at in range(0, len(BILL), 7):
            writer.write(row for each in BILL[at : at + 7] for row in rows(each, COLUMNS))


def test_csv_is_read_back_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "bill.csv", "csv")
    with (tmp_path / "bill.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(BILL)
    assert sum(Decimal(each["BilledCost"]) for each in rows) * 1_000_000 == COSTS
    assert (rows[0]["x_Team"], rows[0]["x_Model"], rows[-1]["x_Model"]) == ('a "quoted", team', "line\nbreak", "")
    assert rows[0]["ChargePeriodStart"] == "2026-06-21T00:01:00Z"
    # NumericFormat: no exponent is needed, and none is written.
    assert not any("E" in each["PricingQuantity"] for each in rows)


def test_parquet_is_exact_and_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "_GROUP", 25)
    write(tmp_path / "bill.parquet", "parquet")
    file = parquet.ParquetFile(tmp_path / "bill.parquet")
    table = file.read()
    assert file.metadata.num_row_groups == 3
    assert sum(table["BilledCost"].to_pylist()) * 1_000_000 == COSTS
    assert {str(table.schema.field(name).type) for name in ("BilledCost", "ListUnitPrice")} == {"decimal128(38, 6)"}
    assert str(table.schema.field("ChargePeriodStart").type) == "timestamp[us, tz=UTC]"
    assert table["x_Requests"].to_pylist() == [each.requests for each in BILL]
    assert table["ChargeClass"].null_count == len(BILL)


def test_an_empty_bill_is_a_file_with_columns_alone(tmp_path: Path) -> None:
    for form in ("csv", "parquet"):
        with whole_file(tmp_path / form, form, COLUMNS):
            pass
    assert parquet.read_table(tmp_path / "parquet").num_rows == 0
    assert (tmp_path / "csv").read_text().count("\n") == 1


def _cut_off(path: Path, form: str) -> None:
    with whole_file(path, form, COLUMNS) as writer:
        writer.write(rows(BILL[0], COLUMNS))
        raise RuntimeError("cut off")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_fails_on_the_way_leaves_the_file_that_was_there(tmp_path: Path, form: str) -> None:
    (tmp_path / "bill").write_text("the last one")
    with pytest.raises(RuntimeError, match="cut off"):
        _cut_off(tmp_path / "bill", form)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("bill", "the last one")]


def test_without_pyarrow_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Unsupported, match="Parquet needs pyarrow") as caught:
        check_parquet()
    assert "inferno-mesh[export]" in str(caught.value.fix)
