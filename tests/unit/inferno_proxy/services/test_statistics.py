"""Statistics of many nodes, added up."""

from __future__ import annotations

from typing import Any

from tritonclient.grpc import service_pb2

from inferno_proxy.services.message_json import as_json
from inferno_proxy.services.statistics import add_up


def answer(name: str = "m", version: str = "1", count: int = 1, last: int = 5, batch: int = 1, gpu: int = 0) -> Any:
    response = service_pb2.ModelStatisticsResponse()
    one = response.model_stats.add(name=name, version=version, inference_count=count, execution_count=count)
    one.last_inference = last
    one.inference_stats.success.count, one.inference_stats.success.ns = count, 10 * count
    entry = one.batch_stats.add(batch_size=batch)
    entry.compute_infer.count = count
    one.memory_usage.add(type="GPU", id=gpu, byte_size=100)
    one.response_stats["0"].success.count = count
    return response


def test_counts_and_times_are_sums_and_the_last_inference_is_the_latest() -> None:
    [one] = add_up([answer(count=1, last=5), answer(count=2, last=3)]).model_stats
    assert (one.inference_count, one.execution_count, one.last_inference) == (3, 3, 5)
    assert (one.inference_stats.success.count, one.inference_stats.success.ns) == (3, 30)
    assert one.response_stats["0"].success.count == 3
    assert [(b.batch_size, b.compute_infer.count) for b in one.batch_stats] == [(1, 3)]
    assert [(m.type, m.id, m.byte_size) for m in one.memory_usage] == [("GPU", 0, 200)]


def test_other_models_versions_batch_sizes_and_devices_stand_side_by_side() -> None:
    total = add_up([answer("b"), answer("a", "2"), answer("a", "1"), answer("a", "1", batch=4, gpu=1)])
    assert [(s.name, s.version) for s in total.model_stats] == [("a", "1"), ("a", "2"), ("b", "1")]
    assert [b.batch_size for b in total.model_stats[0].batch_stats] == [1, 4]
    assert [m.id for m in total.model_stats[0].memory_usage] == [0, 1]


def test_adding_leaves_the_nodes_answers_as_they_were() -> None:
    first = answer()
    add_up([first, answer()])
    assert first.model_stats[0].inference_count == 1


def test_json_has_every_field_and_numbers_for_64_bit_integers() -> None:
    [one] = as_json(answer(count=2**60))["model_stats"]
    assert one["inference_count"] == 2**60
    assert one["inference_stats"]["queue"] == {"count": 0, "ns": 0}
    assert one["response_stats"]["0"]["success"]["count"] == 2**60
    assert one["memory_usage"] == [{"type": "GPU", "id": 0, "byte_size": 100}]


def test_json_of_repeated_texts_is_a_list() -> None:
    message = service_pb2.ServerMetadataResponse(name="n", extensions=["a", "b"])
    assert as_json(message) == {"name": "n", "version": "", "extensions": ["a", "b"]}


def test_json_of_plain_maps_keeps_their_values() -> None:
    request = service_pb2.ModelInferRequest(model_name="m")
    request.parameters["k"].int64_param = 2**53
    assert as_json(request)["parameters"]["k"]["int64_param"] == 2**53
