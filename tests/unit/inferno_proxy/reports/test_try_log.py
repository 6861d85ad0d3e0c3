"""The log of tries: entries as Envoy writes them in, tries out, whatever else stands in an entry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from envoy_data_plane.envoy.data.accesslog.v3 import (
    AccessLogCommon,
    HttpAccessLogEntry,
    HttpRequestProperties,
    HttpResponseProperties,
    ResponseFlags,
)
from envoy_data_plane.envoy.service.accesslog.v3 import (
    StreamAccessLogsMessage,
    StreamAccessLogsMessageHttpAccessLogEntries,
    StreamAccessLogsMessageIdentifier,
)

from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.fleet import Address
from inferno_proxy.reports.try_log import TryLog
from inferno_proxy.resources.names import FAILED_TRIES, copies_of, grpc_cluster, http_cluster
from inferno_proxy.resources.packing import envoy_address
from inferno_runtime.errors import InvalidInput
from tests.unit.inferno_proxy.reports.test_load_report import GRPC, REST, fleet

INFER = "/inference.GRPCInferenceService/ModelInfer"


def entry(
    *,
    cluster: str = grpc_cluster("m"),
    where: Address = GRPC,
    code: int | None = 200,
    header: str = "",
    trailer: str = "",
    flag: str = "",
    path: str = INFER,
    seconds: float = 0.25,
    size: int = 0,
    headers: dict[str, str] | None = None,
) -> HttpAccessLogEntry:
    flags: dict[str, Any] = {flag: True} if flag else {}
    return HttpAccessLogEntry(
        common_properties=AccessLogCommon(
            upstream_cluster=cluster,
            upstream_remote_address=envoy_address(where),
            duration=timedelta(seconds=seconds),
            response_flags=ResponseFlags(**flags),
        ),
        request=HttpRequestProperties(path=path, request_headers=headers or {}),
        response=HttpResponseProperties(
            response_code=code,
            response_body_bytes=size,
            response_headers={"grpc-status": header} if header else {},
            response_trailers={"grpc-status": trailer} if trailer else {},
        ),
    )


def message(*entries: HttpAccessLogEntry, name: str = "") -> bytes:
    return bytes(
        StreamAccessLogsMessage(
            identifier=StreamAccessLogsMessageIdentifier(log_name=name) if name else None,
            http_logs=StreamAccessLogsMessageHttpAccessLogEntries(log_entry=list(entries)),
        )
    )


def read(*entries: HttpAccessLogEntry) -> list[Try]:
    return TryLog().take(message(*entries), fleet(), 7.0)


def test_an_entry_becomes_a_try() -> None:
    headers = {"x-envoy-attempt-count": "2", "x-inferno-fingerprint": "ab12"}
    (found,) = read(entry(trailer="0", size=1011, headers=headers))
    assert found == Try(
        model="m",
        address=GRPC,
        outcome=Outcome.ANSWERED,
        seconds=0.25,
        at=7.0,
        attempt=2,
        request_bytes=1011,
        stream=False,
        fingerprint="ab12",
        status="gRPC 0",
    )


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("0", Outcome.ANSWERED),
        ("1", Outcome.CANCELLED),
        ("2", Outcome.FAILED),
        ("3", Outcome.ANSWERED),
        ("4", Outcome.TIMED_OUT),
        ("5", Outcome.ANSWERED),
        ("8", Outcome.FAILED),
        ("12", Outcome.ANSWERED),
        ("13", Outcome.FAILED),
        ("14", Outcome.FAILED),
        ("15", Outcome.FAILED),
        ("99999", Outcome.ANSWERED),
    ],
)
def test_a_grpc_status_says_how_a_try_ended_wherever_it_stands(status: str, outcome: Outcome) -> None:
    in_header, in_trailer = read(entry(header=status, flag="upstream_remote_reset"), entry(trailer=status))
    assert (in_header.outcome, in_trailer.outcome) == (outcome, outcome)


@pytest.mark.parametrize(
    ("flag", "outcome"),
    [
        ("upstream_connection_failure", Outcome.REFUSED),
        ("upstream_overflow", Outcome.REFUSED),
        ("upstream_remote_reset", Outcome.RESET),
        ("upstream_connection_termination", Outcome.RESET),
        ("upstream_protocol_error", Outcome.RESET),
        ("local_reset", Outcome.RESET),
        ("upstream_request_timeout", Outcome.TIMED_OUT),
        ("upstream_max_stream_duration_reached", Outcome.TIMED_OUT),
        ("stream_idle_timeout", Outcome.TIMED_OUT),
        ("duration_timeout", Outcome.TIMED_OUT),
        ("", Outcome.CANCELLED),
    ],
)
def test_without_an_answer_a_flag_says_it(flag: str, outcome: Outcome) -> None:
    cluster = http_cluster("m")
    over_grpc, over_rest = read(entry(code=None, flag=flag), entry(cluster=cluster, where=REST, code=None, flag=flag))
    assert (over_grpc.outcome, over_rest.outcome) == (outcome, outcome)


@pytest.mark.parametrize(
    ("code", "flag", "outcome"),
    [
        (200, "", Outcome.ANSWERED),
        (200, "upstream_request_timeout", Outcome.ANSWERED),
        (404, "", Outcome.ANSWERED),
        (503, "", Outcome.FAILED),
        (200, "upstream_remote_reset", Outcome.RESET),
    ],
)
def test_a_rest_answer_counts_by_its_code_unless_it_breaks_off(code: int, flag: str, outcome: Outcome) -> None:
    (found,) = read(entry(cluster=http_cluster("m"), where=REST, code=code, flag=flag))
    assert (found.address, found.outcome) == (REST, outcome)


@pytest.mark.parametrize(("code", "outcome"), [(200, Outcome.CANCELLED), (502, Outcome.FAILED)])
def test_a_grpc_answer_without_a_status_is_none(code: int, outcome: Outcome) -> None:
    (found,) = read(entry(code=code))
    assert found.outcome is outcome


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        (INFER, False),
        ("/inference.GRPCInferenceService/ModelStreamInfer", True),
        ("/v2/models/m/generate_stream?x=1", True),
        ("/v2/models/m/infer", False),
    ],
)
def test_a_stream_is_known_by_its_path(path: str, stream: bool) -> None:
    (found,) = read(entry(path=path))
    assert found.stream is stream


@pytest.mark.parametrize(
    "stray",
    [
        entry(cluster="inferno_control"),
        entry(cluster=copies_of(grpc_cluster("m"))),
        entry(cluster=grpc_cluster("unknown")),
        entry(where=Address("10.9.9.9", 1)),
        entry(path="/inference.GRPCInferenceService/ModelReady"),
        HttpAccessLogEntry(),
    ],
    ids=["a service", "a copy", "a model it does not have", "a stranger", "a question", "nothing"],
)
def test_what_is_no_try_of_the_fleet_is_left_out_and_the_rest_is_read(stray: HttpAccessLogEntry) -> None:
    assert [each.outcome for each in read(stray, entry(trailer="0"))] == [Outcome.ANSWERED]


def test_a_try_that_another_one_overtook_does_not_count_that_one() -> None:
    headers = {"x-envoy-attempt-count": "2"}
    late, lost, won, first = read(
        entry(code=None, flag="upstream_request_timeout", headers=headers),
        entry(trailer="0", flag="upstream_request_timeout", headers=headers),
        entry(trailer="0", headers=headers),
        entry(code=None, flag="upstream_request_timeout", headers={"x-envoy-attempt-count": "1"}),
    )
    assert [each.attempt for each in (late, lost, won, first)] == [1, 1, 2, 1]


def test_the_log_of_failures_holds_failures_only() -> None:
    log = TryLog()
    entries = (
        entry(trailer="14"),
        entry(code=None, flag="upstream_remote_reset"),
        entry(code=None, flag="upstream_connection_failure"),
        entry(trailer="0"),
        entry(code=None),
    )
    first = log.take(message(*entries, name=FAILED_TRIES), fleet(), 7.0)
    later = log.take(message(*entries), fleet(), 7.0)
    assert log.name == FAILED_TRIES
    assert [each.outcome for each in first] == [Outcome.FAILED, Outcome.RESET, Outcome.REFUSED]
    assert later == first


def test_a_claim_beyond_reason_is_bounded() -> None:
    headers = {"x-envoy-attempt-count": "999999", "x-inferno-fingerprint": "f" * 1000}
    (big,) = read(entry(seconds=1e9, size=2**63, headers=headers))
    assert (big.seconds, big.attempt, big.request_bytes, len(big.fingerprint)) == (86_400, 100, 0, 128)
    (small,) = read(entry(seconds=-5, size=2**50, headers={"x-envoy-attempt-count": "-1"}))
    assert (small.seconds, small.attempt, small.request_bytes) == (0, 1, 2**40)


def test_a_callers_text_need_not_be_utf8() -> None:
    raw = message(entry(trailer="0", path="/xyz/infer", headers={"x-inferno-fingerprint": "uvw"}))
    broken = raw.replace(b"/xyz/", b"/\xff\xfe\xfd/").replace(b"uvw", b"\xff\xfe\xfd")
    (found,) = TryLog().take(broken, fleet(), 7.0)
    assert found.fingerprint == "\ufffd" * 3


def test_bytes_that_are_no_access_log_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no access log"):
        TryLog().take(b"\xff\xff\xff", fleet(), 7.0)


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, ""),
        ({"x-request-id": "call-7"}, "call-7"),
        ({"traceparent": TRACE}, "4bf92f3577b34da6a3ce929d0e0e4736"),
        ({"x-request-id": "call-7", "traceparent": TRACE}, "call-7"),
        ({"x-request-id": "x" * 999}, "x" * 128),
        ({"traceparent": "00"}, ""),
    ],
)
def test_a_call_is_known_by_its_callers_name_or_its_trace(headers: dict[str, str], name: str) -> None:
    (found,) = read(entry(trailer="0", headers=headers))
    assert found.request_id == name


def test_a_try_says_what_was_answered_and_why_envoy_ended_it() -> None:
    tries = [
        *read(entry(trailer="14")),
        *read(entry(code=503, cluster=http_cluster("m"), where=REST, path="/v2/models/m/infer")),
        *read(entry(code=None, flag="upstream_connection_failure")),
    ]
    assert [(each.status, each.flag) for each in tries] == [
        ("gRPC 14", ""),
        ("HTTP 503", ""),
        ("", "upstream_connection_failure"),
    ]
