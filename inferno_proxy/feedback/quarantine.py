"""The task around the judgement of which request kills nodes: asks as soon as a try breaks or the fleet changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from inferno_proxy.events import EventLog
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.culprits import Culprits
from inferno_proxy.feedback.loop import report
from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.fleet import FleetView
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

# A quarantine ends within so many seconds of its time.
_INTERVAL = 1.0
# Seconds between two looks at the fleet, for each of its nodes.
_LOOK_EACH = 50e-6


class Quarantine:
    """Keeps the part of ``advice`` up to date that says which requests are refused. More of them may be sent while it
    thinks, and nodes die: so it does not wait for the learner's turn."""

    def __init__(self, view: Latest[FleetView], advice: Latest[Advice], events: EventLog, clock: Clock) -> None:
        self._view = view
        self._advice = advice
        self._events = events
        self._clock = clock
        self._culprits = Culprits()
        self._news = asyncio.Event()

    def tries(self, tries: Sequence[Try]) -> None:
        """Take what one message of the log says."""
        self._culprits.tries(tries)
        if any(each.outcome is Outcome.RESET for each in tries):
            self._news.set()

    async def run(self) -> None:
        """Judge until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="quarantine-fleet")
            group.create_task(self._tick(), name="quarantine-clock")
            while True:
                await self._news.wait()
                self._news.clear()
                refused = self._culprits.judge(self._view.value, self._clock.monotonic())
                watched = self._culprits.watched
                self._advice.set(replace(self._advice.value, quarantined=refused, watched=watched))
                report(self._culprits.take_acts(), self._events)

    async def _follow(self) -> None:
        async for view in self._view.watch():
            self._news.set()
            # Looking through a large fleet at each of its changes would take all the time there is.
            await self._clock.sleep(_LOOK_EACH * len(view.members))

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(_INTERVAL)
            self._news.set()
