"""What a tuning found, in words."""

from __future__ import annotations

from dataclasses import replace

from inferno_backend.benchmark.curve import Step
from inferno_backend.tuning.duel import Round, verdict
from inferno_backend.tuning.result import Tuning
from inferno_backend.tuning.search import Trial
from inferno_backend.tuning.space import Point
from tests.unit.inferno_backend.benchmark.results import model

NOW, FOUND, SLOW, FAILS = Point(1, 8), Point(2, 8, dynamic=True), Point(4, 8), Point(8, 8)


def step(rate: float, p99: float = 10.0) -> Step:
    return Step(1, 4, 1.0, 100, 0, rate, 0.01, 1.0, 1.0, 1.0, p99, 0.1)


def tuning(ratio: float) -> Tuning:
    rounds = [Round(step(100), step(100 * ratio))] * 7
    trials = {
        NOW: Trial((step(100),)),
        FOUND: Trial((step(150), step(250))),
        SLOW: Trial((step(900, 70), step(500, 60))),
        FAILS: Trial(error="out of memory"),
    }
    return Tuning(model().subject, 20, trials, NOW, FOUND, rounds, verdict(rounds, 20), 5)


def test_points_are_listed_the_best_first_with_what_keeps_them_out_and_the_verdict_last() -> None:
    lines = tuning(2.5).text().splitlines()
    assert lines[0] == "m on 8 × EPYC, 32 GiB, 2 × NVIDIA H100 80GB HBM3, 20 ms at p99"
    cells = [line.split() for line in lines[2:-1]]
    assert (cells[0][0], cells[0][-3:]) == ("best", ["250", "10", "4"])
    assert (cells[1][0], cells[1][-3:]) == ("now", ["100", "10", "4"])
    assert cells[2][-3:] == ["-", "60", "-"]
    assert cells[3][-3:] == ["fails", "-", "-"]
    assert lines[-1].startswith(f"{FOUND.words()} is better: 2.50 times the throughput")
    assert lines[-1].endswith("in 7 rounds.")


def test_what_is_not_proven_is_not_used_and_nothing_found_is_said() -> None:
    assert f"{FOUND.words()} is not used: " in tuning(0.9).text()
    same = replace(tuning(1), winner=NOW, rounds=[], verdict=None)
    assert not same.better
    assert same.text().endswith(f"As it is configured ({NOW.words()}) nothing better was found.")


def test_the_document_holds_every_trial_and_round() -> None:
    document = tuning(2.5).document()
    assert document["better"]
    assert [len(each["steps"]) for each in document["trials"]] == [1, 2, 2, 0]
    assert document["rounds"][0]["ratio"] == 2.5
    assert replace(tuning(1), verdict=None).document()["verdict"] is None
