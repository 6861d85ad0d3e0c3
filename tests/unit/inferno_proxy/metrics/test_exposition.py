"""The page as Prometheus' own parser reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from inferno_proxy.metrics.exposition import exposition
from inferno_proxy.metrics.translation import FAMILIES, Translator
from tests.unit.inferno_proxy.metrics.pages import MODELS, PAGE


def families(models: frozenset[str]) -> dict[str, dict[tuple[str, ...], float]]:
    translator = Translator()
    translator.know(MODELS)
    page = exposition(translator.read(PAGE), models)
    return {
        family.name: {(sample.name, *sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(page)
    }


def test_prometheus_reads_every_family_and_figure() -> None:
    read = families(MODELS)
    assert set(read) == {family.name for family in FAMILIES}
    assert read["inferno_requests"]["inferno_requests_total", 'say "x"', "model", "http", "200"] == 1
    assert read["inferno_envoy_memory_bytes"] == {("inferno_envoy_memory_bytes",): 1000}
    name = "inferno_request_duration_seconds"
    assert list(read[name].items()) == [
        ((f"{name}_bucket", "m.1", "grpc", "0.0025"), 1),
        ((f"{name}_bucket", "m.1", "grpc", "1.0"), 2),
        ((f"{name}_bucket", "m.1", "grpc", "+Inf"), 3),
        ((f"{name}_count", "m.1", "grpc"), 3),
        ((f"{name}_sum", "m.1", "grpc"), 5),
    ]


def test_models_that_are_gone_are_not_shown() -> None:
    read = families(frozenset({"a:b"}))
    assert {labels[1] for labels in read["inferno_requests"]} == {"a:b", ""}
    assert not read["inferno_request_duration_seconds"]
