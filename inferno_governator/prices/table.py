"""Prices as CSV: the bundled catalogue, files of one's own, and what ``inferno price ls`` prints."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from importlib import resources

from inferno_governator.prices import gpus
from inferno_governator.prices.offers import Kind, Offer, OfferKey, Quote, dollars, micros
from inferno_runtime.errors import InvalidInput

COLUMNS = (
    "cloud",
    "region",
    "instance_type",
    "gpu",
    "gpu_count",
    "gpu_memory_gb",
    "vcpus",
    "memory_gb",
    "kind",
    "usd_per_hour",
    "as_of",
    "source",
)
_REQUIRED = frozenset(COLUMNS) - {"vcpus", "memory_gb"}
_MOST_COUNT = 1_000_000
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Row:
    """A price and the line of the file it stands on."""

    line: int
    quote: Quote


@dataclass(frozen=True, slots=True)
class BadRow:
    """A line that is no price, and why, as a sentence."""

    line: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds: its prices, and the lines that are none."""

    rows: list[Row]
    bad: list[BadRow]


def read(text: str) -> Table:
    """Read CSV whose first line names the columns, in any order.

    Raises:
        InvalidInput: A column is missing, or one is not known.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    header = [name.strip().lower() for name in next(reader, [])]
    missing, unknown = sorted(_REQUIRED - set(header)), sorted(set(header) - set(COLUMNS))
    if missing or unknown:
        what = f"lacks the column {missing[0]!r}" if missing else f"has a column {unknown[0]!r} that is not known"
        raise InvalidInput(
            f"The table {what}.", reason="BAD_PRICE_TABLE", fix="Begin it with the line: " + ",".join(COLUMNS)
        )
    found = Table([], [])
    try:
        for cells in reader:
            line = reader.line_num
            if not any(cells):
                continue
            try:
                if len(cells) != len(header):
                    raise _bad(f"it has {len(cells)} cells, and the first line names {len(header)}")
                found.rows.append(Row(line, _quote(dict(zip(header, map(str.strip, cells), strict=True)))))
            except InvalidInput as error:
                found.bad.append(BadRow(line, error.message))
    except csv.Error as error:
        found.bad.append(BadRow(reader.line_num, f"It is no CSV: {error}; what follows is not read."))
    return found


def write(quotes: Iterable[Quote]) -> str:
    """The same table as text, with the line that names the columns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(_cells, quotes))
    return out.getvalue()


def bundled() -> list[Quote]:
    """The catalogue that comes with this version.

    Raises:
        InvalidInput: The file in the package is damaged.
    """
    text = resources.files("inferno_governator.prices").joinpath("catalogue.csv").read_text("utf-8")
    found = read(text)
    if found.bad:
        raise InvalidInput(
            f"The bundled catalogue is damaged: line {found.bad[0].line}: {found.bad[0].sentence}",
            reason="BAD_PRICE_TABLE",
            fix="Install this version again.",
        )
    return [row.quote for row in found.rows]


def offer(cells: dict[str, str]) -> Offer:
    """The offer that a row of cells names.

    Raises:
        InvalidInput: A cell is not valid; the sentence names it.
    """
    gpu = gpus.known(cells["gpu"])
    if gpu is None:
        names = ", ".join(sorted(each.name for each in gpus.GPUS))
        raise _bad(f"the gpu {cells['gpu'][:40]!r} is not known", f"Write one of {names}.")
    try:
        kind = Kind(cells["kind"].lower())
    except ValueError:
        raise _bad(f"the kind {cells['kind'][:40]!r} is neither on_demand nor spot") from None
    for name in ("cloud", "region", "instance_type"):
        if not cells[name] or len(cells[name]) > _LONGEST or not cells[name].isprintable():
            raise _bad(f"the {name} is empty, too long or holds control characters")
    return Offer(
        OfferKey(cells["cloud"].lower(), cells["region"].lower(), cells["instance_type"], kind),
        gpu.name,
        _count(cells, "gpu_count", least=1),
        _count(cells, "gpu_memory_gb", least=1),
        _count(cells, "vcpus"),
        _count(cells, "memory_gb"),
    )


def _quote(cells: dict[str, str]) -> Quote:
    machine = offer(cells)
    price = micros(cells["usd_per_hour"])
    try:
        day = date.fromisoformat(cells["as_of"])
    except ValueError:
        raise _bad(f"as_of {cells['as_of'][:40]!r} is no day such as 2026-07-20") from None
    source = cells["source"]
    if not source or len(source) > _LONGEST or not source.isprintable():
        raise _bad("the source is empty, too long or holds control characters")
    return Quote(machine, price, day, source)


def _cells(quote: Quote) -> list[object]:
    offer, key = quote.offer, quote.offer.key
    return [
        *(key.cloud, key.region, key.instance_type, offer.gpu, offer.gpu_count, offer.gpu_memory_gb),
        *(offer.vcpus or "", offer.memory_gb or "", key.kind.value, dollars(quote.micros)),
        *(quote.as_of.isoformat(), quote.source),
    ]


def _count(cells: dict[str, str], name: str, least: int = 0) -> int:
    text = cells.get(name, "")
    if not text and least == 0:
        return 0
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= _MOST_COUNT):
        raise _bad(f"{name} {text[:40]!r} is no whole number from {least} to {_MOST_COUNT}")
    return int(text)


def _bad(why: str, fix: str = "") -> InvalidInput:
    return InvalidInput(f"The row is no price: {why}.", reason="BAD_PRICE", fix=fix or "Mend the row.")
