"""Samples of an agent's own sampler and uplink in a real governator's database, while processes are killed."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from inferno_backend.link import PLAIN
from inferno_backend.meter import Reading
from inferno_backend.node import Hardware, Identity
from inferno_backend.sampler import Sampler
from inferno_backend.triton.metrics_page import Counters
from inferno_backend.uplink import Uplink
from inferno_runtime.clock import SystemClock
from inferno_runtime.latest import Latest
from inferno_runtime.mailbox import Mailbox
from inferno_runtime.process import free_port
from tests.integration.inferno_governator.governators import governator_process
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

IDENTITY = Identity("n1", 1, Hardware(1, 1), "0.1.0")
MODELS = 40
KILLS = 4
# Samples are kept for an hour, longer than the half hour that lies behind what is made.
KEPT = ("--raw-retention-minutes", "60")
# Seconds. They are made ten times as fast, and must not overtake the clock: a bill ends now.
WINDOW = 0.1
# Less than what is made while a governator starts: some is dropped.
ROOM = 2_000


class Agent:
    """A sampler and an uplink; each reading makes one sample of each model, with one request in it."""

    def __init__(self, address: str, incarnation: int, since: int, room: int = ROOM) -> None:
        self.mailbox: Mailbox[bytes] = Mailbox(room)
        self.made = 0
        self._sampler = Sampler(Latest(None), Latest(None), self.mailbox, WINDOW)
        identity = replace(IDENTITY, incarnation=incarnation)
        self.uplink = Uplink((address,), identity, self.mailbox, SystemClock(), Latest(PLAIN))
        self._since = since
        self._turn = -1

    def work(self) -> None:
        """One window's samples; the first reading only begins."""
        self._turn += 1
        self.made += MODELS * bool(self._turn)
        counters = {(f"m{n}", "1"): Counters(success=self._turn) for n in range(MODELS)}
        at = self._turn * WINDOW
        self._sampler.take(Reading(at, self._since + at, counters))

    async def run(self) -> None:
        """A window every 10 ms, until cancelled: 4,000 samples a second."""
        clock = SystemClock()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.uplink.run())
            while True:
                self.work()
                await clock.sleep(0.01)


@asynccontextmanager
async def working(agent: Agent) -> AsyncIterator[asyncio.Task[None]]:
    running = asyncio.create_task(agent.run())
    try:
        yield running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def more_than(count: Callable[[], int]) -> Callable[[], bool]:
    """Whether a count has grown since now."""
    before = count()
    return lambda: count() > before


def stored(database: Path, since: float, until: float = 2**40) -> tuple[int, int]:
    """How many samples there are of a time, and how many different ones."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        found: tuple[int, int] = opened.execute(
            "SELECT count(*), count(DISTINCT series || ' ' || time_micros) FROM model_sample "
            "WHERE time_micros > ? AND time_micros <= ? AND requests = 1",
            (since * 1_000_000, until * 1_000_000),
        ).fetchone()
        return found


async def test_every_sample_is_stored_once_or_counted_as_dropped_however_often_the_governator_is_killed(
    tmp_path: Path,
) -> None:
    database, address = tmp_path / "governator.db", f"127.0.0.1:{free_port()}"
    governator = (f"sqlite:///{database}", "--listen", address, *KEPT)
    moments = random.Random(5)
    # Samples that lie more than a day ahead are refused.
    since = int(time.time()) - 1_800
    agent = Agent(address, 1, since)
    async with working(agent) as running:
        for _ in range(KILLS):
            async with governator_process(*governator) as victim:
                await eventually(more_than(lambda: agent.uplink.progress.acknowledged_samples), 20, "some are stored")
                # In the middle of whatever it does then.
                await SystemClock().sleep(moments.uniform(0, 0.3))
                await victim.kill()
            await eventually(more_than(lambda: agent.mailbox.dropped), 10, "some find no room")
        async with governator_process(*governator) as survivor:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            handing_in = asyncio.create_task(agent.uplink.run())
            assert await agent.uplink.flushed(30)
            handing_in.cancel()
            with suppress(asyncio.CancelledError):
                await handing_in
            progress = agent.uplink.progress
            assert progress.dropped > 0
            assert progress.sent_again > 0, "no kill came between a batch and its acknowledgement"
            assert progress.acknowledged_samples == agent.made - progress.dropped
            assert stored(database, since) == (agent.made - progress.dropped,) * 2
            assert (await survivor.client.report()).dropped_samples == progress.dropped

            # The agent is killed with samples on their way: its next life begins at one, and nothing counts twice.
            later = since + 7_200
            killed = Agent(address, 2, later)
            async with working(killed):
                await eventually(lambda: killed.uplink.progress.acknowledged_samples, 20, "some are stored")
            again = Agent(address, 3, later + 7_200)
            async with working(again):
                await eventually(lambda: again.uplink.progress.acknowledged_samples, 20, "some are stored")
            first, second = stored(database, later, later + 7_200), stored(database, later + 7_200)
            assert first[0] == first[1] >= killed.uplink.progress.acknowledged_samples
            assert second[0] == second[1] >= again.uplink.progress.acknowledged_samples
            assert first[0] <= killed.made
            assert second[0] <= again.made


async def test_a_flood_is_held_back_by_a_real_governator_and_all_of_it_is_stored_or_counted(tmp_path: Path) -> None:
    database = tmp_path / "governator.db"
    # It has room for four batches, and 20 are sent ahead.
    async with governator_process(f"sqlite:///{database}", "--queue-samples", "2000", *KEPT) as governator:
        address, since = json.loads(governator.facts)["address"], int(time.time()) - 1_800
        agent = Agent(address, 1, since, room=10_000)
        while len(agent.mailbox) < 10_000:
            agent.work()
        sending = asyncio.create_task(agent.uplink.run())
        with capture_logs() as told:
            agent.work()
            assert await agent.uplink.flushed(60)
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
    refusals = [one["error"] for one in told if one["event"] == "telemetry waits"]
    assert any("takes no more now" in one for one in refusals), refusals
    assert agent.uplink.progress.dropped == MODELS
    assert stored(database, since) == (agent.made - MODELS,) * 2
