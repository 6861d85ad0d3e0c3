"""A clock for what looks at something again and again: it sleeps as short as a test can wait."""

from __future__ import annotations

import asyncio

from inferno_runtime.clock import SystemClock
from tests.waiting import INTERVAL


class HurriedClock(SystemClock):
    """The machine's clock, on which every pause is over soon."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, INTERVAL))
