"""A fleet that follows the demand of a real trace, as what the governator bills: cost and requests by the minute.

The model, and what it leaves out: an autoscaler looks each minute at the mean demand of the last ten and wants so many
nodes that they are busy to ``TARGET``, two at least. It starts what is missing at once, and a node is paid for from its
start though it serves only after it has booted (8 to 16 minutes, the spread of real cold starts). It stops what is too
much only when it has been so for ``hold`` minutes. Each node's price lies within 5 % of the list price; one node in 500
fails in an hour and is replaced while it is still paid for ten minutes. Not modelled: several models on a node,
reservations, spot prices that move by the hour, requests that grow longer.
"""

from __future__ import annotations

import csv
import datetime
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inferno_governator.watch.anomalies import Stretch

TARGET = 0.6
_PRICE_MICROS_A_MINUTE = 2_500_000 / 60
_LOOK_BACK = 10
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in each minute, and how many a node can serve in one."""

    name: str
    requests: Sequence[int]
    node_requests: float

    @property
    def days(self) -> float:
        """How long it is."""
        return len(self.requests) / 1440


@dataclass(frozen=True, slots=True)
class Injection:
    """Something that makes requests ``factor`` times as dear from a minute on, for ``minutes``.

    Kinds: ``price`` (every node), ``utilisation`` (a request takes so much more of a node, and the autoscaler follows),
    ``runaway`` (nodes that nobody asked for).
    """

    kind: str
    minute: int
    factor: float = 2.0
    minutes: int = 120

    def at(self, minute: int) -> float:
        """The factor in a minute."""
        return self.factor if self.minute <= minute < self.minute + self.minutes else 1.0


def bill(trace: Trace, injection: Injection | None, hold: int, seed: int) -> list[Stretch]:
    """Each minute's bill."""
    rng = random.Random(seed)  # noqa: S311 - a benchmark that must repeat itself
    recent: deque[int] = deque(maxlen=_LOOK_BACK)
    wanted: deque[int] = deque(maxlen=hold)
    prices: list[float] = []
    leaving: list[tuple[int, float]] = []
    billed = []
    for minute, requests in enumerate(trace.requests):
        kind, factor = (injection.kind, injection.at(minute)) if injection else ("", 1.0)
        recent.append(requests)
        each = trace.node_requests * TARGET / (factor if kind == "utilisation" else 1.0)
        wanted.append(max(_FEWEST, math.ceil(sum(recent) / len(recent) / each)))
        # What boots is wanted as much as what serves: the fleet has as many as were wanted at most within the hold.
        while len(prices) < max(wanted):
            prices.append(_PRICE_MICROS_A_MINUTE * rng.uniform(0.95, 1.05))
        del prices[max(wanted) :]
        failed = sum(rng.random() < 1 / 500 / 60 for _ in prices)
        leaving += [(minute + 10, _PRICE_MICROS_A_MINUTE)] * failed
        leaving = [(until, price) for until, price in leaving if until > minute]
        cost = sum(prices) + sum(price for _, price in leaving)
        paid = (len(prices) + len(leaving)) * (factor if kind == "runaway" else 1.0)
        total = cost * (factor if kind in ("price", "runaway") else 1.0)
        billed.append(Stretch(minute, round(total), requests, round(paid * 60_000_000)))
    return billed


def traces(folder: Path) -> list[Trace]:
    """The given traces, from their files.

    ServeGen has a rate for each ten minutes of 14 days; within them each minute draws its requests (Poisson). The
    others are an hour of requests: three days are put together from their ten-minute pieces, drawn at random.
    """
    rng = random.Random(7)  # noqa: S311
    with (folder / "servegen_m-large_10min_14d.csv").open() as file:
        rates = [float(row["rate_rps"]) for row in csv.DictReader(file)]
    serving = [max(0, round(rng.gauss(rate * 60, math.sqrt(rate * 60)))) for rate in rates for _ in range(10)]
    return [
        # About 350 tokens in and 300 out: some 20 requests a second on one H100 (Llama-3.1-8B, profiles).
        Trace("ServeGen m-large, 14 days", serving, 20.0 * 60),
        *(
            Trace(f"{name}, 3 days of its hour", _days(_an_hour(folder / file, column, parse), 3, rng), 40.0)
            for name, file, column, parse in (
                ("Azure 2023 conversation", "azure2023_conv.csv", "TIMESTAMP", _clock),
                ("Azure 2023 code", "azure2023_code.csv", "TIMESTAMP", _clock),
                ("Mooncake conversation", "mooncake_conversation.csv", "t_ms", lambda text: float(text) / 1000),
            )
        ),
    ]


def _clock(text: str) -> float:
    # Seven digits of a second; Python reads six.
    return datetime.datetime.fromisoformat(text[:26]).replace(tzinfo=datetime.UTC).timestamp()


def _an_hour(path: Path, column: str, parse: Callable[[str], float]) -> list[int]:
    with path.open() as file:
        times = [parse(row[column]) for row in csv.DictReader(file)]
    start, counts = min(times), [0] * 60
    for at in times:
        counts[min(59, int((at - start) // 60))] += 1
    # The last minutes may be cut short by the trace's end.
    return counts[:50]


def _days(hour: list[int], days: int, rng: random.Random) -> list[int]:
    pieces = [hour[at : at + 10] for at in range(0, len(hour), 10)]
    return [count for _ in range(days * 144) for count in rng.choice(pieces)]
