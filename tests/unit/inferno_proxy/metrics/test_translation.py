"""Envoy's figures under our names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from inferno_proxy.envoy.bootstrap import EnvoySettings, local_base
from inferno_proxy.fleet import Address
from inferno_proxy.metrics.durations import CALLS
from inferno_proxy.metrics.translation import PATH, Translator
from tests.unit.inferno_proxy.metrics.pages import MODELS, PAGE


def read() -> dict[tuple[str, ...], float]:
    translator = Translator()
    translator.know(MODELS)
    return {(key.family.name, *key.labels, key.part): value for key, value in translator.read(PAGE).items()}


def test_each_figure_has_our_name_and_labels() -> None:
    assert read() == {
        ("inferno_retries", "a:b", "grpc", ""): 2,
        ("inferno_retries", "m.1", "http", ""): 1,
        ("inferno_retries_denied", "m.1", "http", "breaker", ""): 1,
        ("inferno_requests", "a:b", "model", "grpc", "OK", ""): 5,
        ("inferno_requests", 'say "x"', "model", "http", "200", ""): 1,
        ("inferno_requests", "m.1", "quarantine", "grpc", "UNAVAILABLE", ""): 1,
        ("inferno_requests", "", "no-such-model", "grpc", "NOT_FOUND", ""): 3,
        ("inferno_requests", "", "none", "http", "gone", ""): 1,
        ("inferno_requests_refused", "m.1", "rate", ""): 4,
        ("inferno_requests_refused", "m.1", "busy", ""): 2,
        ("inferno_requests_refused", "m.1", "other", ""): 1,
        ("inferno_connections", "public", ""): 3,
        ("inferno_envoy_memory_bytes", ""): 1000,
        ("inferno_endpoints", "m.1", "grpc", ""): 2,
        ("inferno_tls_failures", "protocol", ""): 1,
        ("inferno_request_duration_seconds", "m.1", "grpc", "0.0025"): 1,
        ("inferno_request_duration_seconds", "m.1", "grpc", "1.0"): 2,
        ("inferno_request_duration_seconds", "m.1", "grpc", "+Inf"): 3,
        ("inferno_request_duration_seconds", "m.1", "grpc", "sum"): 5,
    }


def test_envoy_is_asked_for_nothing_that_is_not_shown() -> None:
    wanted = unquote(PATH)
    assert r"cluster\.model/.+\.(upstream_rq_time|" in wanted
    assert wanted.startswith("/stats/prometheus?usedonly&filter=^(")


def test_envoys_buckets_are_those_of_all_calls() -> None:
    base = local_base(EnvoySettings(Path("d"), Path("s"), Address("127.0.0.1", 1)))
    [setting] = base["stats_config"]["histogram_bucket_settings"]  # type: ignore[index]
    assert [bucket / 1000 for bucket in setting["buckets"]] == list(CALLS)
