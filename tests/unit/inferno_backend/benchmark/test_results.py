"""Results on disk and in words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from inferno_backend.benchmark.report import hardware_text, model_text, step_text
from inferno_backend.benchmark.results import Results, newest
from inferno_runtime.errors import Unavailable
from tests.unit.inferno_backend.benchmark.results import figure, hardware, model, step


def test_what_is_kept_is_read_again_the_oldest_first(tmp_path: Path) -> None:
    results = Results(tmp_path)
    one, other = model(step(uncertainty=math.inf), step(150, concurrency=2), at=2), model(step(), at=1, files="g")
    devices = hardware(figure(3000))
    for each in (one, other, devices):
        results.keep(each)
    assert results.models() == (other, one)
    assert results.hardware() == (devices,)


def test_a_run_replaces_what_it_wrote_before_and_nothing_else(tmp_path: Path) -> None:
    results = Results(tmp_path)
    first = results.keep(model(step(), at=1, complete=False))
    assert results.keep(model(step(), step(), at=1)) == first
    results.keep(model(step(), at=2))
    assert [(one.measured_micros, len(one.steps)) for one in results.models()] == [(1, 2), (2, 1)]


def test_what_is_no_result_is_left_out(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.keep(model(step()))
    for name, text in (("a", "{"), ("b", "{}"), ("c", '{"format": 99}'), ("d", '{"format": 1}'), ("e", "[]")):
        (results.folder / f"model-{name}.json").write_text(text)
    assert len(results.models()) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").write_text("")
    with pytest.raises(Unavailable, match=r"cannot be kept in .*benchmarks") as caught:
        Results(tmp_path).keep(model(step()))
    assert "--data-dir" in caught.value.fix


def test_the_newest_of_a_subject_is_the_newest_complete_one_and_one_without_steps_is_none() -> None:
    complete, cut = model(step(), at=1), model(step(), at=2, complete=False)
    other, empty = model(step(), at=3, files="g", complete=False), model(at=4, files="h")
    assert newest([cut, complete, other, empty]) == (complete, other)


def test_a_curve_is_told_with_its_capacity_and_what_limits_it() -> None:
    text = model_text(model(step(100), step(150, concurrency=2, uncertainty=math.inf, cores=0.9)))
    assert "capacity within 20 ms at p99: 150 requests/s, 150 inferences/s (batch 1, 2 in flight)" in text
    assert "load generator used a whole core" in text
    assert "?" in step_text(step(uncertainty=math.inf))
    assert "capacity within 5 ms at p99: none, no step kept it" in model_text(model(step(), objective=5))
    assert model_text(model()).endswith("nothing was measured")
    assert "capacity: 100 requests/s" in model_text(model(step(100), objective=None))


def test_figures_are_told_with_their_share_of_the_published_peak() -> None:
    text = hardware_text(hardware(figure(2680), figure(50, figure="copy_to_device")))
    rows = [line.split() for line in text.splitlines()[2:]]
    assert rows[0][-3:] == ["80%", "torch", "2"]
    assert rows[1][-3:] == ["-", "torch", "2"]
