"""The bill as a FOCUS file: read from the governator item by item, and written as it comes."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from inferno.governance.v1 import governance_service_pb2_grpc as governance_grpc
from inferno.governance.v1 import report_pb2 as wire
from inferno_cli import endpoint as public
from inferno_cli import output
from inferno_cli.bill import without_governator
from inferno_cli.cost_report import where
from inferno_governator import cost_wire, item_wire
from inferno_governator.analysis.items import Item
from inferno_governator.export.focus import Column, Origin, rows
from inferno_governator.export.focus import columns as focus_columns
from inferno_governator.export.writers import CsvWriter, Writer, check_parquet, whole_file
from inferno_runtime.errors import InvalidInput


@dataclass(slots=True)
class Written:
    """How much was written."""

    rows: int = 0
    cost_micros: int = 0


def check(form: str, out: Path | None) -> None:
    """See whether a file of this form can be written, before anything is asked.

    Raises:
        InvalidInput: Parquet would go to standard output.
        Unsupported: Parquet cannot be written here.
    """
    if form != "parquet":
        return
    if out is None:
        raise InvalidInput("Parquet goes to a file.", reason="NO_FILE", fix="Name it with --out FILE.")
    check_parquet()


def question(
    period: str, filters: Iterable[str], account: str, account_name: str, provider: str, *, hourly: bool
) -> tuple[wire.ListCostItemsRequest, tuple[Column, ...]]:
    """What is asked, and the columns it is written in.

    Raises:
        InvalidInput: A filter is not written as one.
    """
    asked = wire.ListCostItemsRequest(
        period=wire.CostPeriod(name=period), filters=cost_wire.encode_filters(where(filters)), hourly=hourly
    )
    return asked, focus_columns(Origin(account, account_name, provider))


async def export(
    endpoint: public.Endpoint,
    asked: wire.ListCostItemsRequest,
    form: str,
    out: Path | None,
    columns: tuple[Column, ...],
) -> Written:
    """Write the items that are asked for; to standard output without a file.

    Raises:
        Unavailable: The mesh, or the governator behind it, does not answer. No file is left then.
        Broken: The file cannot be written.
        Unsupported: There is no governator behind it.
    """
    done = Written()
    with _writer(form, out, columns) as writer:
        async for items in _items(endpoint, asked):
            made = [row for item in items for row in rows(item, columns)]
            writer.write(made)
            done.rows += len(made)
            done.cost_micros += sum(item.cost_micros for item in items)
    return done


async def _items(endpoint: public.Endpoint, asked: wire.ListCostItemsRequest) -> AsyncIterator[list[Item]]:
    async with public.connected(endpoint) as channel:
        stub = governance_grpc.GovernanceServiceStub(channel)
        try:
            async for piece in stub.ListCostItems(asked):
                yield item_wire.decode(piece)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise without_governator(endpoint, "bill") from error
            raise


@contextmanager
def _writer(form: str, out: Path | None, columns: tuple[Column, ...]) -> Iterator[Writer]:
    if out is None:
        yield CsvWriter(sys.stdout, columns)
        sys.stdout.flush()
        return
    try:
        with whole_file(out, form, columns) as writer:
            yield writer
    except OSError as error:
        raise output.cannot_write(out, error) from error
