"""Which configurations are worth trying, and how one is written."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from inferno_backend.tuning.command import check, remarks, sweep_of
from inferno_backend.tuning.space import COORDINATES, Limits, Point, applied, candidates, point_of
from inferno_runtime.errors import InvalidInput, Unsupported

LIMITS = Limits(4, 8, 20)


def config(text: str) -> Any:
    return text_format.Parse(f'name: "m" {text}', model_config_pb2.ModelConfig())


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("", Point(1, 0)),
        ("max_batch_size: 8 instance_group { count: 2 }", Point(2, 8)),
        ("max_batch_size: 8 dynamic_batching { }", Point(1, 8, dynamic=True)),
        (
            "max_batch_size: 8 dynamic_batching { preferred_batch_size: [8, 4] max_queue_delay_microseconds: 100 }",
            Point(1, 8, dynamic=True, delay_micros=100, preferred=(4, 8)),
        ),
        ("instance_group { count: 1 } instance_group { count: 2 }", Point(0, 0)),
    ],
)
def test_a_configuration_stands_at_a_point_and_goes_back_to_it(text: str, point: Point) -> None:
    made = config(text)
    assert point_of(made) == point
    assert point_of(applied(made, point)) == point


def test_only_what_is_tuned_changes_in_a_configuration() -> None:
    before = config(
        'backend: "python" max_batch_size: 4 instance_group { kind: KIND_GPU gpus: [0, 1] count: 1 } '
        "dynamic_batching { preserve_ordering: true preferred_batch_size: 2 }"
    )
    after = applied(before, Point(3, 8, dynamic=True, delay_micros=500, preferred=(8,)))
    assert before.max_batch_size == 4
    assert after == config(
        'backend: "python" max_batch_size: 8 instance_group { kind: KIND_GPU gpus: [0, 1] count: 3 } '
        "dynamic_batching { preserve_ordering: true preferred_batch_size: 8 max_queue_delay_microseconds: 500 }"
    )
    assert not applied(before, Point(1, 4)).HasField("dynamic_batching")


def test_each_coordinate_begins_with_where_it_stands_and_stays_within_the_limits() -> None:
    at = Point(3, 4, dynamic=True, delay_micros=300)
    found = {name: candidates(name, at, LIMITS) for name in COORDINATES}
    assert all(points[0] == at and len(set(points)) == len(points) for points in found.values())
    assert [one.instances for one in found["instances"]] == [3, 1, 2, 4]
    assert [(one.dynamic, one.max_batch) for one in found["batching"][1:]] == [(False, 4), (True, 4), (True, 8)]
    assert [one.delay_micros for one in found["delay"]] == [300, 0, 200, 1000, 5000]
    assert [one.preferred for one in found["preferred"]] == [(), (4,), (2,), (2, 4)]


def test_a_model_that_does_not_batch_has_only_instances_and_one_with_groups_of_its_own_not_even_those() -> None:
    assert {name: len(candidates(name, Point(1, 0), LIMITS)) for name in COORDINATES} == {
        "batching": 1, "instances": 3, "delay": 1, "preferred": 1,
    }  # fmt: skip
    assert all(len(candidates(name, Point(0, 0), LIMITS)) == 1 for name in COORDINATES)


def test_what_stays_as_it_is_is_said() -> None:
    assert remarks("m", config("max_batch_size: 8"), LIMITS) == ()
    assert "does not batch" in remarks("m", config(""), LIMITS)[0]
    assert "--max-batch" in remarks("m", config("max_batch_size: 1"), Limits(1, 1, 1))[0]
    assert "groups" in remarks("m", config("max_batch_size: 8 instance_group { } instance_group { }"), LIMITS)[0]


def test_words_name_what_is_set() -> None:
    assert Point(0, 0).words() == "as it is"
    assert Point(2, 8, dynamic=True, delay_micros=5, preferred=(4, 8)).words() == (
        "2 instances; batches up to 8; dynamic batching within 5 µs, preferably 4,8"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('platform: "ensemble"', "is an ensemble"),
        ("model_transaction_policy { decoupled: true }", "is decoupled"),
        ("sequence_batching { }", "is stateful"),
    ],
)
def test_a_model_with_nothing_to_tune_is_refused(text: str, says: str) -> None:
    with pytest.raises(Unsupported, match=says):
        check(config(text))


def test_a_sweep_names_coordinates_in_any_order() -> None:
    assert sweep_of("") == tuple(COORDINATES)
    assert sweep_of("delay, batching") == ("batching", "delay")
    with pytest.raises(InvalidInput, match="knows no 'speed'"):
        sweep_of("delay,speed")
