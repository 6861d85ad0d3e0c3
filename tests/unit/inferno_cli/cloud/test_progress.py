from __future__ import annotations

import pytest

from inferno_cli.cloud import progress
from inferno_cli.cloud.progress import Lines, Spinners
from inferno_runtime.clock import ManualClock


async def test_every_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    with Lines(clock) as told:
        told.starting("proxy")
        await clock.advance(1.5)
        told.ready("proxy", 7)
        told.died("proxy", "was killed by SIGKILL", 0.1)
        told.stopping(["node-1", "node-2"])
        told.killed("node-1", 6.5)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == [
        "  proxy ready in 1.5 s (pid 7)",
        "! proxy was killed by SIGKILL; starting it again in 0.1 s",
        "stopping node-1, node-2",
        "! node-1 did not end within 6.5 s and was killed",
    ]


def test_spinners_end_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Spinners(ManualClock()) as told:
        told.starting("proxy")
        told.starting("proxy")
        told.ready("proxy", 7)
        told.died("proxy", "ended with code 1", 0.1)
        told.finish()
        told.starting("proxy")
        told.ready("proxy", 8)
    written = capsys.readouterr().err
    assert "proxy (pid 7)" in written
    assert "! proxy ended with code 1" in written
    assert written.splitlines()[-1] == "  proxy ready in 0.0 s (pid 8)"


@pytest.mark.parametrize(
    ("terminal", "term", "cls"), [(True, "xterm", Spinners), (True, "dumb", Lines), (False, "xterm", Lines)]
)
def test_animation_is_for_terminals(
    terminal: bool, term: str, cls: type[Lines], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setenv("TERM", term)
    assert type(progress.for_terminal(ManualClock())) is cls
