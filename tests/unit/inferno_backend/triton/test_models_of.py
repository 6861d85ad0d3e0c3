"""The index and the configurations make the node's models."""

from __future__ import annotations

from inferno_backend.node import Model, ModelState, ModelVersion
from inferno_backend.triton.client import Row, models_of


def test_index_and_configuration_are_put_together_by_name() -> None:
    rows = [Row("b", "1", "READY", ""), Row("a", "2", "LOADING", ""), Row("a", "1", "READY", "")]
    configs = {"a": Model("a", stateful=True, max_batch_size=4), "b": Model("b", decoupled=True, platform="python")}
    assert models_of(rows, configs, {}) == (
        Model("a", (ModelVersion("2", ModelState.LOADING), ModelVersion("1", ModelState.READY)), True, False, 4),
        Model("b", (ModelVersion("1", ModelState.READY),), False, True, platform="python"),
    )


def test_a_ready_model_of_unknown_kind_is_not_offered_yet() -> None:
    assert models_of([Row("a", "1", "READY", "")], {}, {}) == ()


def test_a_model_that_failed_needs_no_configuration_and_its_reason_is_one_line() -> None:
    rows = [Row("a", "1", "UNAVAILABLE", "Internal: no weights\n\nAt:\n  model.py(1)"), Row("c", "1", "ODD", "")]
    assert models_of(rows, {}, {}) == (
        Model("a", (ModelVersion("1", ModelState.UNAVAILABLE, "Internal: no weights"),)),
        Model("c", (ModelVersion("1", ModelState.UNAVAILABLE),)),
    )


def test_a_model_never_loaded_is_told_only_when_it_is_known_to_be_broken() -> None:
    rows = [Row("broken", "", "", ""), Row("other", "", "", "")]
    assert models_of(rows, {}, {"broken": "config.pbtxt:1:1 : nonsense"}) == (
        Model("broken", (ModelVersion("", ModelState.UNAVAILABLE, "config.pbtxt:1:1 : nonsense"),)),
    )


def test_a_broken_model_that_the_index_leaves_out_is_told_and_one_that_was_loaded_since_is_as_it_is() -> None:
    rows = [Row("mended", "1", "LOADING", "")]
    assert models_of(rows, {}, {"empty": "no version", "mended": "no file"}) == (
        Model("empty", (ModelVersion("", ModelState.UNAVAILABLE, "no version"),)),
        Model("mended", (ModelVersion("1", ModelState.LOADING),)),
    )
