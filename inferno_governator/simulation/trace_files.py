"""Traces in the formats in which they are published: the Azure LLM traces, Mooncake's, and rates like ServeGen's.

The first line tells which it is::

    TIMESTAMP,ContextTokens,GeneratedTokens                           Azure
    t_ms,input_tokens,output_tokens                                   Mooncake
    t_s,rate_rps[,mean_input_tokens,mean_output_tokens][,...]         rates; an empty mean is the one before

A line that cannot be is refused with its number: a trace that is quietly mended gives an answer to another question.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from inferno_governator.simulation.trace import RateTrace, RequestTrace, Trace
from inferno_runtime.errors import InvalidInput, NotFound

_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MOONCAKE = ("t_ms", "input_tokens", "output_tokens")
_RATE = ("t_s", "rate_rps")
_MEANS = ("mean_input_tokens", "mean_output_tokens")
# Times of a rate trace are even to this share of a step.
_EVEN = 0.01


def read(file: Path) -> Trace:
    """The trace in a file.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is no trace; the line and what is wrong with it are named.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return parse(lines, file.stem, str(file))
    except OSError as error:
        raise NotFound(
            f"The trace {file} cannot be read: {error.strerror}.", reason="NO_TRACE", fix="Name a file that is there."
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{file} is not text in UTF-8.", reason="BAD_TRACE", fix="Give a CSV file, unpacked."
        ) from error


def parse(lines: Iterable[str], name: str, where: str) -> Trace:
    """The trace in lines of text; ``where`` begins what is said of a line.

    Raises:
        InvalidInput: It is no trace; the line and what is wrong with it are named.
    """
    table = csv.reader(lines)
    header = tuple(each.strip() for each in next(table, []))
    places = {title: at for at, title in enumerate(header)}
    if all(title in places for title in _AZURE):
        trace: Trace = _requests(table, places, _AZURE, name, where)
    elif all(title in places for title in _MOONCAKE):
        trace = _requests(table, places, _MOONCAKE, name, where)
    elif all(title in places for title in _RATE):
        trace = _rates(table, places, name, where)
    else:
        raise InvalidInput(
            f"{where}:1: the first line is {','.join(header) or 'empty'}, which is no trace's.",
            reason="BAD_TRACE",
            fix=f"Begin with {','.join(_AZURE)}, or {','.join(_MOONCAKE)}, or {','.join((*_RATE, *_MEANS))}.",
        )
    return trace


def _requests(
    table: Iterable[Sequence[str]], places: Mapping[str, int], titles: Sequence[str], name: str, where: str
) -> RequestTrace:
    time, size_in, size_out = (places[title] for title in titles)
    seconds: Callable[[str], float] = _unix if titles is _AZURE else _milliseconds
    at: list[float] = []
    inputs: list[float] = []
    outputs: list[float] = []
    for line, row in enumerate(table, 2):
        if not row:
            continue
        moment = _value(row, time, seconds, titles[0], f"{where}:{line}")
        if at and moment < at[-1]:
            raise _bad(f"{where}:{line}", f"{row[time]} is before the time of the line above", "Sort the lines by time")
        at.append(moment)
        inputs.append(_size(row, size_in, titles[1], f"{where}:{line}"))
        outputs.append(_size(row, size_out, titles[2], f"{where}:{line}"))
    if not at:
        raise _bad(f"{where}:1", "no request follows the first line", "Give a trace with at least one")
    begin = at[0]
    times = np.asarray(at) - begin
    # The last request has as much time to itself as the others have on average.
    length = float(times[-1]) + max(1.0, float(times[-1]) / len(times))
    return RequestTrace(
        name, times, np.asarray(inputs), np.asarray(outputs), length, begin if titles is _AZURE else 0.0
    )


def _rates(table: Iterable[Sequence[str]], places: Mapping[str, int], name: str, where: str) -> RateTrace:
    at: list[float] = []
    rates: list[float] = []
    means: dict[str, list[float]] = {title: [] for title in _MEANS}
    for line, row in enumerate(table, 2):
        if not row:
            continue
        place = f"{where}:{line}"
        moment = _value(row, places["t_s"], float, "t_s", place)
        if at and moment <= at[-1]:
            raise _bad(place, f"t_s {moment:g} is not after the line above", "Sort the lines by time, one for each")
        if len(at) > 1 and abs((moment - at[-1]) - (at[1] - at[0])) > _EVEN * (at[1] - at[0]):
            raise _bad(
                place,
                f"{moment - at[-1]:g} s lie between this line and the one above, and {at[1] - at[0]:g} s between the "
                "first two: the trace has a gap",
                "Add the lines that are missing, with a rate of 0 where nothing came, or cut the trace there",
            )
        at.append(moment)
        rates.append(_size(row, places["rate_rps"], "rate_rps", place))
        for title, sizes in means.items():
            told = title in places and places[title] < len(row) and row[places[title]].strip()
            sizes.append(_size(row, places[title], title, place) if told else sizes[-1] if sizes else 0.0)
    if len(at) < 2:
        raise _bad(f"{where}:{len(at) + 1}", "a rate trace needs at least two lines", "Give more of it")
    total = sum(rates) or 1.0
    mean_input, mean_output = (float(np.dot(means[title], rates)) / total for title in _MEANS)
    return RateTrace(name, np.asarray(rates), at[1] - at[0], mean_input, mean_output)


def _unix(text: str) -> float:
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _milliseconds(text: str) -> float:
    return float(text) / 1000


def _value(row: Sequence[str], place: int, read: Callable[[str], float], title: str, where: str) -> float:
    text = row[place].strip() if place < len(row) else ""
    try:
        value = read(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise _bad(where, f"{title} is {text or 'missing'}", "Write a number there, or a time where the format has one")
    return value


def _size(row: Sequence[str], place: int, title: str, where: str) -> float:
    size = _value(row, place, float, title, where)
    if size < 0:
        raise _bad(where, f"{title} is {size:g}, and nothing is smaller than 0", "Correct the value or drop the line")
    return size


def _bad(where: str, what: str, fix: str) -> InvalidInput:
    return InvalidInput(f"{where}: {what}.", reason="BAD_TRACE", fix=f"{fix}.")
