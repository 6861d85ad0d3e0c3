"""How far a measurement is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import pytest

from inferno_backend.benchmark.progress import Bar, Lines, for_terminal


def run(shown: Lines) -> None:
    shown.begin("m", 4)
    shown.step("100 requests/s")
    shown.say("! [something] to tell")
    shown.step("110 requests/s")
    shown.end()


def test_without_a_terminal_each_step_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with for_terminal() as shown:
        assert type(shown) is Lines
        run(shown)
    assert capsys.readouterr().err == "m:\n  100 requests/s\n! [something] to tell\n  110 requests/s\n"


def test_a_bar_shows_the_last_step_is_full_at_the_end_and_lets_messages_pass(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    bar = Bar()
    with bar:
        run(bar)
    bar.say("after it")
    said = capsys.readouterr().err
    assert "! [something] to tell\n" in said
    # A curve that ends early is done all the same.
    assert "m: 110 requests/s" in said
    assert "2/2" in said
    assert said.endswith("after it\n")
