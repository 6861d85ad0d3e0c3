from __future__ import annotations

from pathlib import Path

import pytest

from inferno_proxy.supervisor.act import Act
from inferno_proxy.supervisor.control_process import ControlProcess
from inferno_runtime.clock import ManualClock


async def test_what_a_control_plane_that_is_away_does_not_read_is_only_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with ControlProcess(Path("no-plan"), ManualClock()) as control:
        for _ in range(10_000):
            control.tell(Act("ENVOY_RESTARTED", "envoy", "c", "e", "f", 0.1))
    assert "only in this log" in "".join(capsys.readouterr())
