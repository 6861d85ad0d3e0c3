"""A clock for what looks at something again and again: it sleeps as short as a test can wait."""

from __future__ import annotations

import asyncio

from inferno_runtime.clock import SystemClock
from tests.waiting import INTERVAL


class HurriedClock(SystemClock):
    """The machine's clock, on which every pause is over soon; ``slept`` counts them."""

    def __init__(self) -> None:
        self.slept = 0

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        await asyncio.sleep(min(seconds, INTERVAL))
