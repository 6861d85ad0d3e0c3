from __future__ import annotations

import pytest

from inferno_proxy.identity.failed_joins import FailedJoins
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Exhausted


async def test_a_burst_may_fail_and_then_one_each_second() -> None:
    clock = ManualClock()
    failed = FailedJoins(clock)
    for _ in range(20):
        failed.count()
    with pytest.raises(Exhausted) as refused:
        failed.count()
    assert refused.value.reason == "TOO_MANY_FAILED_JOINS"
    assert refused.value.retry_after == 1
    await clock.advance(1)
    failed.count()
    with pytest.raises(Exhausted):
        failed.count()
    await clock.advance(1000)
    for _ in range(20):
        failed.count()
