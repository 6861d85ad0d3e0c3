from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1.telemetry_pb2 import Sample, TelemetryBatch
from inferno.governance.v1.usage_pb2 import RequestSample
from inferno_governator.requests import RequestKey
from inferno_governator.telemetry_decoder import decode

NOW = 1_760_000_000


def batch(*samples: RequestSample) -> TelemetryBatch:
    timed = [Sample(time=Timestamp(seconds=NOW), window=Duration(seconds=1), requests=each) for each in samples]
    return TelemetryBatch(node_id="proxy", incarnation=1, sequence=1, samples=timed)


def test_what_a_proxy_counted_becomes_points_by_key() -> None:
    one = RequestSample(
        node="n",
        model="m",
        version="1",
        team="t",
        key="k",
        requests=2,
        client_errors=3,
        refused=4,
        server_errors=5,
        request_micros=6,
        input_tokens=7,
        output_tokens=8,
        request_bytes=9,
        response_bytes=10,
        latency=[2, *[0] * 15],
    )
    decoded = decode(batch(one, RequestSample(refused=9)), NOW * 1_000_000)
    when = (NOW * 1_000_000, 1_000_000)
    assert decoded.requests == {
        RequestKey("n", "m", "1", "t", "k"): [(*when, 2, 3, 4, 5, 6, 7, 8, 9, 10, 2, *[0] * 15)],
        RequestKey("", "", "", "", ""): [(*when, 0, 0, 9, *[0] * 22)],
    }
    assert (decoded.sample_count, decoded.models, decoded.devices) == (2, {}, {})


@pytest.mark.parametrize(
    ("sample", "field"),
    [
        (RequestSample(team="t\n"), "requests.team"),
        (RequestSample(node="n" * 257), "requests.node"),
        (RequestSample(refused=2**48 + 1), "requests.refused"),
        (RequestSample(requests=1, latency=[1]), "requests.latency"),
        (RequestSample(requests=2, latency=[1, *[0] * 15]), "requests.latency"),
    ],
)
def test_what_is_impossible_is_left_out_by_name(sample: RequestSample, field: str) -> None:
    decoded = decode(batch(RequestSample(), sample), NOW * 1_000_000)
    assert decoded.refused.keys() <= {"name", "value"}
    assert decoded.refusal.startswith(f"samples[1].{field}: ")
    assert decoded.sample_count == sum(map(len, decoded.requests.values())) == 1
