"""What the agent says of its node, from all it knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferno_backend.node import Condition, Endpoints, Model, ModelState, ModelVersion, Placement
from inferno_backend.verdict import Facts, state_of

READY = Model("m", (ModelVersion("1", ModelState.READY),), stateful=True, loads=1)
FAILED_VERSION = ModelVersion("2", ModelState.UNAVAILABLE, "no weights")


@pytest.mark.parametrize(
    ("facts", "condition", "reason"),
    [
        (Facts(), Condition.STARTING, ""),
        (Facts(answered=True), Condition.SERVING, ""),
        (Facts(answered=True, draining="asked"), Condition.DRAINING, "asked"),
        (Facts(answered=True, down="dead"), Condition.FAILED, "dead"),
        (Facts(answered=True, down="dead", draining="asked"), Condition.FAILED, "dead"),
        (Facts(down="dead", draining="asked"), Condition.STARTING, "dead"),
        (Facts(answered=True, shut="no door", draining="asked"), Condition.FAILED, "no door"),
        (Facts(answered=True, expired="too old"), Condition.DRAINING, "too old"),
        (Facts(answered=True, draining="asked", reclaimed="sold"), Condition.DRAINING, "sold"),
    ],
)
def test_a_dead_server_outweighs_a_drain_and_a_drain_outweighs_service(
    facts: Facts, condition: Condition, reason: str
) -> None:
    state = state_of(facts)
    assert (state.condition, state.reason) == (condition, reason)


def test_models_are_told_as_the_server_tells_them() -> None:
    state = state_of(Facts(Endpoints("h:1"), "2.51.0", answered=True, models=(READY,)))
    assert state.models == (READY,)
    assert state.models[0].ready
    assert (state.endpoints.grpc, state.server_version) == ("h:1", "2.51.0")


def test_a_stalled_model_is_unavailable_with_its_reason() -> None:
    (model,) = state_of(Facts(answered=True, models=(READY,), stalled={"m": "3 requests wait."})).models
    assert model.versions == (ModelVersion("1", ModelState.UNAVAILABLE, "3 requests wait."),)
    assert model.stateful
    assert not model.ready


def test_a_model_whose_process_has_died_is_unavailable_with_the_cause() -> None:
    facts = Facts(answered=True, models=(READY,), dead={"m": "It was killed."}, stalled={"m": "It stands still."})
    (model,) = state_of(facts).models
    assert model.versions == (ModelVersion("1", ModelState.UNAVAILABLE, "It was killed."),)


def test_a_withdrawn_model_is_unloading_and_its_failed_versions_stay_failed() -> None:
    both = Model("m", (ModelVersion("1", ModelState.READY), FAILED_VERSION))
    (model,) = state_of(Facts(answered=True, models=(both,), withdrawn=frozenset({"m"}), stalled={"m": "x"})).models
    assert [one.state for one in model.versions] == [ModelState.UNLOADING, ModelState.UNAVAILABLE]
    assert model.versions[1] == FAILED_VERSION


def test_a_model_that_could_not_be_loaded_again_serves_and_says_why() -> None:
    facts = Facts(
        answered=True, models=(READY,), loads={"m": 2}, failures={"m": "No weights."}, uncached={"m": "Not cached."}
    )
    (model,) = state_of(facts).models
    told = "It serves as it was loaded before. To load it again failed: No weights."
    assert model.versions == (ModelVersion("1", ModelState.READY, told),)
    assert (model.loads, model.load_failure) == (3, "No weights.")


def test_a_model_that_is_not_cached_serves_and_says_why() -> None:
    (model,) = state_of(Facts(answered=True, models=(READY,), uncached={"m": "Not cached."})).models
    assert model.versions == (ModelVersion("1", ModelState.READY, "Not cached."),)


def test_a_gpu_that_can_do_no_work_takes_its_models_out_and_the_node_with_the_last_of_them() -> None:
    on_gpu = Model("gpu", (ModelVersion("1", ModelState.READY),), placement=Placement(gpus=(0,)))
    facts = Facts(answered=True, models=(on_gpu, READY), gpus=("GPU-1", "GPU-2"), faulty={"GPU-1": "Xid 79."})
    state = state_of(facts)
    assert (state.condition, state.models[1]) == (Condition.SERVING, READY)
    assert state.models[0].versions == (ModelVersion("1", ModelState.UNAVAILABLE, "Xid 79."),)
    state = state_of(replace(facts, models=(on_gpu,), draining="asked"))
    assert (state.condition, state.reason) == (Condition.FAILED, "Xid 79.")


def test_a_model_tells_how_many_processes_it_has_lost() -> None:
    facts = Facts(answered=True, models=(READY, replace(READY, name="other")), losses={"m": 3})
    assert [model.lost_processes for model in state_of(facts).models] == [3, 0]
