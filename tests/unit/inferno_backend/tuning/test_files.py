"""What a tuning reads and leaves: its state, its copy of the repository, its picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from inferno_backend.benchmark.curve import Step
from inferno_backend.tuning import overlay
from inferno_backend.tuning.duel import Round
from inferno_backend.tuning.overlay import Overlay
from inferno_backend.tuning.plot import svg
from inferno_backend.tuning.search import Trial
from inferno_backend.tuning.space import Point
from inferno_backend.tuning.state import State
from inferno_runtime.errors import Unavailable

POINT = Point(2, 8, dynamic=True, preferred=(8,))


def step(rate: float, p99: float = 10.0) -> Step:
    return Step(1, 4, 1.0, 100, 0, rate, 0.01, 1.0, 1.0, 1.0, p99, 0.1)


def test_a_state_is_found_again_by_the_same_tuning_only(tmp_path: Path) -> None:
    state = State(tmp_path, "about")
    assert not state.resumed
    state.keep_trial(POINT, 1, Trial((step(100), step(200))))
    state.keep_trial(POINT, 0, Trial(error="no memory"))
    state.keep_round(POINT, Round(step(1), step(2)))
    again = State(tmp_path, "about")
    assert again.resumed
    assert again.trial(POINT, 1) == Trial((step(100), step(200)))
    assert again.trial(POINT, 0) == Trial(error="no memory")
    assert again.trial(POINT, 2) is None
    assert again.rounds(POINT) == [Round(step(1), step(2))]
    other = State(tmp_path, "something else")
    assert not other.resumed
    assert other.trial(POINT, 1) is None
    again.forget()
    assert not State(tmp_path, "about").resumed


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"format": 1, "about": "about", "trials": {"x": 1}}'])
def test_a_state_that_cannot_be_read_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert not State(tmp_path, "about").resumed


def test_a_state_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "tuning").write_text("")
    with pytest.raises(Unavailable, match="cannot be kept"):
        State(tmp_path / "tuning", "about").keep_trial(POINT, 0, Trial())


def repository(folder: Path, *, config: str | None = "max_batch_size: 1") -> Path:
    (folder / "m" / "1").mkdir(parents=True)
    (folder / "m" / "1" / "model.py").write_text("x")
    (folder / "other").mkdir()
    if config is not None:
        (folder / "m" / "config.pbtxt").write_text(config)
    return folder


def test_an_overlay_changes_one_file_and_none_of_the_users(tmp_path: Path) -> None:
    user = repository(tmp_path / "user")
    laid = Overlay(user, "m", tmp_path / "laid")
    assert laid.repository().models == ("m", "other")
    (tmp_path / "laid" / "m" / "config.pbtxt").write_text("max_batch_size: 9")
    assert (user / "m" / "config.pbtxt").read_text() == "max_batch_size: 1"
    assert (tmp_path / "laid" / "m" / "1" / "model.py").read_text() == "x"
    laid.restore()
    assert (tmp_path / "laid" / "m" / "config.pbtxt").read_text() == "max_batch_size: 1"


def test_an_overlay_of_a_model_without_a_configuration_goes_back_to_none(tmp_path: Path) -> None:
    laid = Overlay(repository(tmp_path / "user", config=None), "m", tmp_path / "laid")
    (tmp_path / "laid" / "m" / "config.pbtxt").write_text("max_batch_size: 9")
    laid.restore()
    assert not (tmp_path / "laid" / "m" / "config.pbtxt").exists()


def test_an_applied_configuration_keeps_the_old_one_and_its_permissions(tmp_path: Path) -> None:
    model = repository(tmp_path) / "m"
    (model / "config.pbtxt").chmod(0o640)
    assert overlay.apply(model, "max_batch_size: 2") == model / "config.pbtxt.before-tuning"
    assert (model / "config.pbtxt").read_text() == "max_batch_size: 2"
    assert (model / "config.pbtxt").stat().st_mode & 0o777 == 0o640
    assert (model / "config.pbtxt.before-tuning").read_text() == "max_batch_size: 1"
    (model / "config.pbtxt").unlink()
    assert overlay.apply(model, "max_batch_size: 3") is None


def test_the_picture_is_an_svg_with_a_line_for_each_curve_and_the_objective() -> None:
    drawn = svg("m on <box>", {"now": [step(100), step(150, 90)], "found": [step(300, 20)]}, 25)
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{name}polyline")) == 2
    assert len(root.findall(f"{name}circle")) == 3
    texts = [each.text for each in root.findall(f"{name}text")]
    assert {"m on <box>", "now", "found", "objective 25 ms"} <= set(texts)
