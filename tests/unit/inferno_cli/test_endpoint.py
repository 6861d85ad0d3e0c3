from __future__ import annotations

import asyncio

import pytest

from inferno_cli import endpoint
from inferno_runtime.errors import TimedOut


def test_work_within_its_time_gives_its_result() -> None:
    async def work() -> int:
        return 5

    assert endpoint.within(10, work, "Counting") == 5


def test_work_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(TimedOut, match=r"^Waiting took longer than 0\.01 s\.$") as caught:
        endpoint.within(0.01, asyncio.Event().wait, "Waiting")
    assert caught.value.exit_code == 124
