"""Every row of the bundled catalogue, and tables of prices in general."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from inferno_governator.prices import gpus, table
from inferno_governator.prices.offers import Kind, Quote
from inferno_governator.prices.rules import impossible
from inferno_runtime.errors import InvalidInput

ROWS = table.bundled()
# The day on which the newest row was read; a row from after it is a slip.
NEWEST = date(2026, 11, 9)


def test_every_row_can_be_a_price_and_says_of_which_day_and_from_whom() -> None:
    for row in ROWS:
        assert not impossible(row, NEWEST), row
        assert date(2026, 1, 1) <= row.as_of <= NEWEST, row
        assert row.source, row
        assert gpus.known(row.offer.gpu), row


def test_rows_are_sorted_and_no_offer_is_there_twice() -> None:
    order = [(*row.offer.key[:3], row.offer.key.kind.value) for row in ROWS]
    assert order == sorted(order)
    assert len(set(order)) == len(order)


def test_it_has_three_large_clouds_several_of_gpus_and_spot_prices() -> None:
    clouds = Counter(row.offer.key.cloud for row in ROWS)
    assert {"aws", "azure", "gcp"} <= clouds.keys()
    assert {"lambda", "runpod", "nebius", "coreweave", "crusoe", "hyperstack"} <= clouds.keys()
    assert len(ROWS) > 500
    assert sum(row.offer.key.kind is Kind.SPOT for row in ROWS) > 100
    assert {"T4", "L4", "L40S", "A100", "H100", "H200", "B200", "B300", "GB200"} <= {row.offer.gpu for row in ROWS}


def test_a_machine_has_the_same_gpus_everywhere() -> None:
    made: dict[tuple[str, str], tuple[str, int, int, int, int]] = {}
    for row in ROWS:
        offer = row.offer
        gpu = (offer.gpu, offer.gpu_count, offer.gpu_memory_gb, offer.vcpus, offer.memory_gb)
        assert made.setdefault((offer.key.cloud, offer.key.instance_type), gpu) == gpu, row


def test_spot_is_cheaper_than_on_demand_in_the_same_region() -> None:
    on_demand = {row.offer.key: row.micros for row in ROWS}
    for row in ROWS:
        if row.offer.key.kind is Kind.SPOT:
            full = on_demand.get(row.offer.key._replace(kind=Kind.ON_DEMAND))
            assert full is None or row.micros < full, row


def test_the_file_is_what_the_table_writes() -> None:
    again = table.read(table.write(ROWS))
    assert [row.quote for row in again.rows] == ROWS
    assert not again.bad


HEADER = ",".join(table.COLUMNS)
GOOD = "aws,us-east-1,p5.48xlarge,H100,8,80,192,2048,on_demand,55.04,2026-07-20,list"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("H100", "H1000", "the gpu 'H1000' is not known"),
        ("on_demand", "reserved", "neither on_demand nor spot"),
        ("55.04", "cheap", "'cheap' is no price in US dollars"),
        ("55.04", "nan", "'nan' is no price"),
        ("55.04", "1e30", "'1e30' is no price"),
        ("2026-07-20", "20.7.2026", "no day such as 2026-07-20"),
        (",8,", ",0,", "gpu_count '0' is no whole number from 1"),
        (",192,", ",many,", "vcpus 'many' is no whole number from 0"),
        ("aws", "", "the cloud is empty"),
        (",list", ",", "the source is empty"),
        (",list", "", "it has 11 cells"),
    ],
)
def test_a_malformed_row_is_named_by_line_and_the_others_count(old: str, new: str, why: str) -> None:
    read = table.read("\n".join([HEADER, GOOD, GOOD.replace(old, new, 1), "", GOOD.replace("us-east-1", "eu-west-1")]))
    assert [row.line for row in read.rows] == [2, 5]
    (bad,) = read.bad
    assert bad.line == 3
    assert why in bad.sentence


def test_columns_may_stand_in_any_order_and_numbers_of_the_host_may_lack() -> None:
    names = [name for name in reversed(table.COLUMNS) if name not in {"vcpus", "memory_gb"}]
    cells = dict(zip(table.COLUMNS, GOOD.split(","), strict=True))
    read = table.read("\ufeff" + ",".join(names) + "\n" + ",".join(cells[name] for name in names))
    (row,) = read.rows
    assert isinstance(row.quote, Quote)
    assert (row.quote.micros, row.quote.offer.vcpus) == (55_040_000, 0)


@pytest.mark.parametrize("text", ["", "hello\nworld", HEADER + ",colour\n", HEADER.replace("as_of,", "")])
def test_what_is_no_such_table_is_refused_whole(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        table.read(text)
    assert HEADER in error.value.fix
