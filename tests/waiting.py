"""Waiting for a condition with a deadline: the only place in the tests that sleeps.

Await an event where there is one; poll a condition where the other side is a process that cannot tell.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

INTERVAL = 0.01
# Seconds that anything is given: a shared machine may stand still for some, and no test judges by wall time.
_PATIENCE = 60.0


@overload
async def eventually(check: Callable[[], Awaitable[T]], within: float, what: str) -> T: ...


@overload
async def eventually(check: Callable[[], T], within: float, what: str) -> T: ...


async def eventually(check: Callable[[], T | Awaitable[T]], within: float, what: str) -> T:
    """Call ``check`` until what it returns is true, and return that.

    An AssertionError inside ``check`` counts as "not yet". ``check`` may be asynchronous. Raises AssertionError after
    ``within`` seconds, and never before 60, saying ``what`` was waited for and what was seen last.
    """
    deadline = time.monotonic() + max(within, _PATIENCE)
    while True:
        seen: object
        try:
            found = check()
            result = await found if inspect.isawaitable(found) else found
            if result:
                return result
            seen = result
        except AssertionError as error:
            seen = error
        if time.monotonic() > deadline:
            raise _late(max(within, _PATIENCE), what, seen)
        await asyncio.sleep(INTERVAL)


def eventually_sync(check: Callable[[], T], within: float, what: str) -> T:
    """:func:`eventually` for tests without an event loop."""
    deadline = time.monotonic() + max(within, _PATIENCE)
    while True:
        seen: object
        try:
            result = check()
            if result:
                return result
            seen = result
        except AssertionError as error:
            seen = error
        if time.monotonic() > deadline:
            raise _late(max(within, _PATIENCE), what, seen)
        time.sleep(INTERVAL)  # noqa: TID251 - see the module's docstring


def _late(within: float, what: str, seen: object) -> AssertionError:
    return AssertionError(f"not within {within:g} s: {what}; last seen: {seen!r}")
