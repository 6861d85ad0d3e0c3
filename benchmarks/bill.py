"""How long a month's report over 1,000 nodes takes, and how large the database of 1,000 GPUs at 1 Hz is.

::

    python -m benchmarks.bill                       # embedded SQLite, and PostgreSQL from the development environment
    python -m benchmarks.bill --nodes 100           # a smaller fleet

Each node has one GPU and serves one model to two callers; the GPU, the CPUs and the model are sampled once a second.

*Time*: a database is given 30 days and the hours of a 31st as settled books, and half an hour of telemetry, before and
after the governator has settled what it settles of it. A report reads all items of its period and adds them up by team
and model; beside the seconds of the wall clock are those of this process alone. *Size*: some minutes of the whole fleet
are stored at 1 Hz as they would arrive, settled, and weighed table by table (SQLite's ``dbstat``); a row of each level
then has a measured size, and the default retention says how many rows are kept once the oldest are deleted.
Results go to ``benchmarks/results/bill.{json,md}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.environment import machine
from benchmarks.postgres import PostgresServer
from inferno_governator.analysis.breakdown import Breakdown, Dimension
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.requests import BUCKETS, RequestKey
from inferno_governator.settings import GovernatorSettings
from inferno_governator.store import items as item_store
from inferno_governator.store.address import parse_database
from inferno_governator.store.engine import Database
from inferno_governator.store.items import DAY, HOUR
from inferno_governator.store.names import Names
from inferno_governator.store.store import Store
from inferno_governator.usage import Batch, DevicePoint, Facts, SeriesKey, StatePoint, StreamKey
from inferno_runtime.clock import ManualClock

_RESULTS = Path(__file__).parent / "results"
SECONDS_GOAL = 1.0
BYTES_GOAL = 3_000_000_000
# 2026-10-01, 00:00 UTC.
_BEGIN = 1_790_812_800 // 60
_DAYS = 30
# Of the 31st day: settled hours, and minutes after them.
_HOURS, _MINUTES = 13, 30
_NOW = _BEGIN + _DAYS * DAY + _HOURS * HOUR + _MINUTES
_TEAMS = ("search", "support")
_MODEL = SeriesKey("model", "llama-3-8b", "1")
_DEVICES = (SeriesKey("gpu", "GPU-5f4b7a1c-9a2e-4c61-8d2f-0a1b2c3d4e5f", ""), SeriesKey("cpu", "cpu", ""))
_FACTS = Facts(6_880_000, "us-east-1", "NVIDIA H100", 1, "p5.4xlarge")
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Report:
    """How long one question took (median and slowest of a few), and what it read."""

    database: str
    period: str
    items: int
    seconds: float
    slowest_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Level:
    """One table: what a row weighs with its indexes, and how many are kept."""

    table: str
    bytes_per_row: float
    rows: int
    megabytes: float


def _name(node: int) -> str:
    return f"node-{node:04}"


def _items(nodes: int, start: int, minutes: int) -> Iterator[Item]:
    """What a stretch of time has of every node: its model's work for each team, and idleness."""
    share = minutes * 60_000_000 // 4
    for node in range(nodes):
        for team in _TEAMS:
            yield Item(
                *(start, minutes, _name(node), _FACTS, Purpose.WORK, *_MODEL[1:], team, f"{team}-key"),
                *(share, share * 19 // 10, 37 * minutes, minutes, 148 * minutes, 9000 * minutes, 2000 * minutes),
                *(812_345 * minutes, 112_233 * minutes, share),
            )
        yield Item(start, minutes, _name(node), _FACTS, Purpose.IDLE, "", "", "", "", share * 2, share * 4)


def _batch(node: int, sequence: int, start: int, step: int, samples: int, *, asked: bool = True) -> Batch:
    """So many samples of ``step`` seconds each of one node, from a Unix second on."""
    ends = [((start + step * (at + 1)) * 1_000_000, step * 1_000_000) for at in range(samples)]
    work = (37, 1, 148, 19, 812_345, 112_233, 254_321, 3)
    points = [(*end, 37, 1, 2, 0, 812_345, 9_000, 2_000, 36_000, 8_000, *[3] * BUCKETS) for end in ends]
    return Batch(
        StreamKey(_name(node), 1),
        sequence,
        {_MODEL: [(*end, *work) for end in ends]},
        {key: [_device(*end) for end in ends] for key in _DEVICES},
        3 * samples,
        _FACTS if sequence == 1 else None,
        0,
        start * 1_000_000,
        ends[-1][0],
        {RequestKey(_name(node), *_MODEL[1:], team, f"{team}-key"): points for team in _TEAMS} if asked else {},
        states={_DEVICES[0]: [_state(*end) for end in ends]},
    )


def _device(end: int, window: int) -> DevicePoint:
    return (end, window, 731_000, 61_234_567_890, 85_899_345_920, 412_500)


def _state(end: int, window: int) -> StatePoint:
    """A GPU whose clocks its power holds down half of the time."""
    millis = window // 1000
    return (
        *(end, window, millis, 61 * millis, millis, 1_755 * millis, millis * (end // 1_000_000 % 2), 0, 0),
        *(684_321, 61, 3, 0),
    )


async def _fill_month(url: str, nodes: int) -> None:
    """Settled books of the days and hours, and telemetry of the minutes after them."""
    async with Store(parse_database(url), ManualClock(wall=_NOW * 60)) as store:
        # Names get their numbers, and the last minutes their telemetry.
        start = (_NOW - _MINUTES) * 60
        for first in range(0, nodes, 100):
            some = range(first, min(nodes, first + 100))
            await store.commit([_batch(node, 1, start, 60, _MINUTES) for node in some])
        database = Database(store.address, 5)
        for length, begin, count in ((DAY, _BEGIN, _DAYS), (HOUR, _BEGIN + _DAYS * DAY, _HOURS)):
            for at in range(count):
                async with database.write() as connection:
                    numbers = await Names().number_nodes(connection, map(_name, range(nodes)), Names())
                    made = list(_items(nodes, begin + at * length, length))
                    await item_store.add(connection, length, made, numbers)
        await database.close()


async def _ask(url: str, label: str) -> list[Report]:
    """Reports of whole days, and of as much until now."""
    found = []
    month, until_now = (_BEGIN, _BEGIN + _DAYS * DAY), (_NOW - _DAYS * DAY, _NOW)
    async with Store(parse_database(url), ManualClock(wall=_NOW * 60)) as store:
        for period, (start, end) in (
            ("a month of 30 days", month),
            ("30 days until now, half an hour not settled", until_now),
            ("30 days until now", until_now),
        ):
            if period == "30 days until now":
                while not await store.settle():
                    pass
            took, used = [], []
            for _ in range(_TRIES):
                began, cpu, count = time.perf_counter(), time.process_time(), 0
                bill = Breakdown((Dimension.TEAM, Dimension.MODEL))
                async with store.moment() as moment:
                    async for chunk in moment.items(start, end, together=True):
                        bill.add(chunk)
                        count += len(chunk)
                assert len(bill.lines()) >= len(_TEAMS) + 1
                took.append(time.perf_counter() - began)
                used.append(time.process_time() - cpu)
            middle = _TRIES // 2
            times = [round(each, 3) for each in (sorted(took)[middle], max(took), sorted(used)[middle])]
            found.append(Report(label, period, count, *times))
    return found


async def _fill_minutes(url: str, nodes: int, minutes: int) -> None:
    """Some minutes of the fleet at 1 Hz, and the books of their hour and day."""
    clock = ManualClock(wall=(_BEGIN + DAY) * 60)
    async with Store(parse_database(url), clock) as store:
        for minute in range(minutes):
            for first in range(0, nodes, 100):
                some = range(first, min(nodes, first + 100))
                await store.commit([_batch(node, minute + 1, (_BEGIN + minute) * 60, 1, 60) for node in some])
        clock.jump_wall(86_400)
        while not await store.settle():
            pass


def _weigh(file: Path) -> dict[str, float]:
    """Bytes a row of each table takes, with its indexes."""
    with closing(sqlite3.connect(file)) as connection:
        owners = dict(connection.execute("SELECT name, tbl_name FROM sqlite_master WHERE type IN ('table', 'index')"))
        sizes: dict[str, int] = {}
        for name, size in connection.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name"):
            owner = owners.get(name, name)
            sizes[owner] = sizes.get(owner, 0) + size
        counts = {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - our tables
            for name in sizes
            if name in owners
        }
    return {name: sizes[name] / count for name, count in counts.items() if count}


def levels(weights: dict[str, float], nodes: int) -> list[Level]:
    """The tables as large as they grow by the default retention: what is kept, and what waits to be deleted."""
    fields = GovernatorSettings.model_fields
    kept = {name: fields[name].default for name in fields if "retention" in name}
    seconds = (kept["raw_retention_minutes"] + 1) * 60
    minutes = kept["minute_retention_days"] * DAY + HOUR
    hours = (kept["hour_retention_days"] + 1) * 24
    days = kept["day_retention_days"] + 1
    # Rows that a node has in a second, minute, hour or day.
    rows = {
        "model_sample": seconds,
        "device_sample": 2 * seconds,
        "model_minute": minutes,
        "device_minute": 2 * minutes,
        "device_hour": 2 * hours,
        "device_day": 2 * days,
    }
    for each, length in (("minute", minutes), ("hour", hours), ("day", days)):
        rows[f"request_{each}"] = len(_TEAMS) * length
    rows |= {"item_hour": (len(_TEAMS) + 1) * hours, "item_day": (len(_TEAMS) + 1) * days}
    return [
        Level(name, round(weights[name], 1), count * nodes, round(weights[name] * count * nodes / 1e6, 1))
        for name, count in rows.items()
    ]


def markdown(reports: list[Report], tables: list[Level], nodes: int, about: dict[str, object]) -> str:
    """The result as tables."""
    asked = "\n".join(
        f"| {each.database} | {each.period} | {each.items} | {each.seconds} | {each.slowest_seconds} | "
        f"{each.cpu_seconds} |"
        for each in reports
    )
    sizes = "\n".join(f"| {each.table} | {each.bytes_per_row} | {each.rows} | {each.megabytes} |" for each in tables)
    total = sum(each.megabytes for each in tables)
    line = ", ".join(f"{name} {value}" for name, value in about.items())
    return (
        f"# The bill of {nodes} nodes\n\nA report reads every item of its period and adds them up by team and model. "
        f"Goal: {SECONDS_GOAL:g} s for a month.\n\n"
        f"| database | period | items | seconds (median of {_TRIES}) | slowest | CPU seconds |\n"
        f"|---|---|---|---|---|---|\n{asked}\n\n# The database of {nodes} GPUs at 1 Hz\n\nEmbedded SQLite under the "
        f"default retention, with a model, a GPU and the CPUs of each node sampled once a second and two callers of "
        f"each model: "
        f"**{total / 1000:.2f} GB**. Goal: {BYTES_GOAL / 1e9:g} GB.\n\n| table | bytes a row | rows | MB |\n"
        f"|---|---|---|---|\n{sizes}\n\n{line}\n"
    )


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--minutes", type=int, default=4, help="minutes at 1 Hz that are stored to be weighed")
    parser.add_argument("--results", type=Path, default=_RESULTS)
    options = parser.parse_args()
    about = {**machine(), "load average before": round(os.getloadavg()[0], 2)}
    reports: list[Report] = []
    with tempfile.TemporaryDirectory(prefix="inf-bill-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder) / "pg" / "data")
        (Path(folder) / "pg").mkdir()
        Path(folder).chmod(0o755)
        server.start()
        try:
            for label, url in (
                ("SQLite", f"sqlite:///{folder}/month.db"),
                ("PostgreSQL", server.create_database("month")),
            ):
                asyncio.run(_fill_month(url, options.nodes))
                reports += asyncio.run(_ask(url, label))
        finally:
            server.stop()
        file = Path(folder) / "minutes.db"
        asyncio.run(_fill_minutes(f"sqlite:///{file}", options.nodes, options.minutes))
        tables = levels(_weigh(file), options.nodes)
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    about["peak rss mib"] = peak
    options.results.mkdir(parents=True, exist_ok=True)
    text = markdown(reports, tables, options.nodes, about)
    (options.results / "bill.md").write_text(text)
    total = round(sum(each.megabytes for each in tables) * 1e6)
    (options.results / "bill.json").write_text(
        json.dumps(
            {
                "machine": about,
                "goal_seconds": SECONDS_GOAL,
                "goal_bytes": BYTES_GOAL,
                "reports": [asdict(each) for each in reports],
                "bytes": total,
                "tables": [asdict(each) for each in tables],
            },
            indent=2,
        )
        + "\n"
    )
    print(text)


if __name__ == "__main__":
    main()
