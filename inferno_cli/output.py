"""How results reach standard output: the same rows as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import rich_click as click

from inferno_runtime.errors import Broken

Format = Literal["table", "json"]
Row = Mapping[str, Any]
Command = TypeVar("Command", bound=Callable[..., Any])

_MICROS = 1_000_000
_SIGNIFICANT = 4


def _plain(value: object) -> str:
    return "-" if value is None or value == "" else str(value)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: which key of a row it shows, under which title, and how.

    ``colour`` names the terminal colour of a value, or None; it is used on a colour terminal only.
    """

    key: str
    title: str
    show: Callable[[Any], str] = _plain
    right: bool = False
    colour: Callable[[Any], str | None] = lambda _: None


def output_option(command: Command) -> Command:
    """Give a command ``-o table|json``; it arrives as ``output``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        help="A table for people or JSON for programs (default table).",
    )(command)


def table(columns: Sequence[Column], rows: Iterable[Row], *, colours: bool = False) -> str:
    """Rows as aligned text, without a trailing newline; the last column is never padded."""
    kept = list(rows)
    cells = [[column.show(row.get(column.key)) for column in columns] for row in kept]
    widths = [max(len(text) for text in texts) for texts in zip([c.title for c in columns], *cells, strict=True)]

    def line(texts: Sequence[str], paint: Callable[[int, str], str]) -> str:
        padded = (
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(texts, widths, columns, strict=True)
        )
        return "  ".join(paint(at, text) for at, text in enumerate(padded)).rstrip()

    def painter(row: Row) -> Callable[[int, str], str]:
        def paint(at: int, text: str) -> str:
            colour = columns[at].colour(row.get(columns[at].key)) if colours else None
            return click.style(text, fg=colour) if colour else text

        return paint

    lines = [line([column.title for column in columns], lambda _, text: text)]
    lines += [line(texts, painter(row)) for texts, row in zip(cells, kept, strict=True)]
    return "\n".join(lines)


def print_table(columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Write rows as a table to standard output, in colour where the terminal wants it."""
    print_line(table(columns, rows, colours=coloured()))


def one_line(document: object) -> str:
    """JSON on one line, for programs that read lines."""
    return json.dumps(document, ensure_ascii=False)


def print_json(document: object) -> None:
    """Write one JSON document and a newline to standard output; on a terminal it is indented."""
    print_line(json.dumps(document, ensure_ascii=False, indent=2) if sys.stdout.isatty() else one_line(document))


def print_line(text: str) -> None:
    """Write text and a newline to standard output, at once: a reader may be waiting for it.

    Raises:
        BrokenPipeError: The reader has ended; click ends the command without a word.
        Broken: It cannot be written, for example because the disk is full.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still in the buffer would fail once more at the interpreter's end, and change the exit code.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - it stays open to the end
        raise Broken(
            f"Standard output cannot be written: {error.strerror}.",
            reason="OUTPUT_FAILED",
            fix="Check where it goes: a file needs room on its disk.",
        ) from error


def deliver(text: str, file: Path | None) -> None:
    """Write text and a newline to a file, or to standard output without one.

    Raises:
        Broken: It cannot be written.
    """
    if file is None:
        print_line(text)
        return
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(file, error) from error
    say(f"Wrote {file}")


def cannot_write(file: Path, error: OSError) -> Broken:
    """The error for a file that could not be written."""
    return Broken(
        f"{file} cannot be written: {error.strerror}.",
        reason="OUTPUT_FAILED",
        fix="Name a file in a folder that exists, is yours to write to, and has room on its disk.",
    )


def say(text: str) -> None:
    """Write a message for people to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def coloured(environment: Mapping[str, str] = os.environ) -> bool:
    """True when standard output is a terminal and nobody asked for no colour (no-color.org)."""
    return sys.stdout.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def money(micros: int) -> str:
    """Millionths of a US dollar with at least four significant digits, never in scientific notation.

    >>> money(1_234_567), money(1_900), money(12), money(0), money(1_234_567_890_000)
    ('$1.235', '$0.001900', '$0.000012', '$0', '$1,234,568')
    """
    if micros == 0:
        return "$0"
    sign, size = ("-" if micros < 0 else ""), abs(micros)
    # Digits before the point; below one dollar it counts the zeros after it, as a negative number.
    whole = len(str(size)) - len(str(_MICROS)) + 1
    places = min(6, max(0, _SIGNIFICANT - whole))
    unit = 10 ** (6 - places)
    rounded = (size + unit // 2) // unit * unit
    dollars, rest = divmod(rounded, _MICROS)
    fraction = f".{rest:06d}"[: 1 + places] if places else ""
    return f"{sign}${dollars:,}{fraction}"
