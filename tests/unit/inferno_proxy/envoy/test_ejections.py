"""Envoy's words on its ejections, as acts of healing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import pytest

from inferno_proxy.envoy.ejections import ACCESS_LINE, ejected, ejection, follow
from inferno_proxy.events import EventLog
from inferno_proxy.resources.names import grpc_cluster, http_cluster
from inferno_proxy.supervisor.act import Act
from inferno_runtime.clock import ManualClock

OUT = {
    "type": "CONSECUTIVE_GATEWAY_FAILURE",
    "cluster_name": grpc_cluster("a/b"),
    "upstream_url": "10.0.0.1:8001",
    "action": "EJECT",
    "num_ejections": 2,
    "enforced": True,
}
BACK = {**OUT, "action": "UNEJECT", "enforced": False, "cluster_name": http_cluster("m"), "secs_since_last_action": "3"}


def test_an_ejection_names_the_endpoint_its_model_and_the_reason() -> None:
    act = ejection(json.dumps(OUT))
    assert act is not None
    assert (act.kind, act.subject, act.seconds) == ("ENDPOINT_EJECTED", "10.0.0.1:8001", None)
    assert act.cause == "endpoint 10.0.0.1:8001 of model a/b: it kept refusing or breaking calls"
    assert act.evidence == "ejection number 2 of it over gRPC"


def test_a_return_says_how_long_the_endpoint_was_out() -> None:
    act = ejection(json.dumps(BACK))
    assert act is not None
    assert (act.kind, act.seconds, act.evidence) == ("ENDPOINT_BACK", 3, "ejection number 2 of it over REST")


def test_an_ejection_that_was_only_considered_is_none() -> None:
    assert ejection(json.dumps({**OUT, "enforced": False})) is None


@pytest.mark.parametrize("line", ["", "something", "[]", "{}", '"text"'])
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ejection(line)


async def test_what_is_no_ejection_stops_nobody_from_reading_on() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(f"garbage\n{json.dumps({**OUT, 'enforced': False})}\n{json.dumps(BACK)}\n".encode())
    stream.feed_eof()
    told: list[Act] = []
    await follow(stream, told.append)
    assert [act.kind for act in told] == ["ENDPOINT_BACK"]


async def test_lines_of_the_access_log_are_passed_on_as_they_are(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    line = ACCESS_LINE + b'1,"component":"access"}\n'
    stream = asyncio.StreamReader()
    stream.feed_data(line + json.dumps(BACK).encode() + b"\n" + line)
    stream.feed_eof()
    told: list[Act] = []
    await follow(stream, told.append)
    assert len(told) == 1
    assert capfdbinary.readouterr().out == line * 2


def test_who_is_out_now_follows_from_what_was_reported() -> None:
    clock = ManualClock(wall=1000.0)
    events = EventLog(clock)

    def report(told: dict[str, object]) -> None:
        act = ejection(json.dumps(told))
        assert act is not None
        events.healed(**asdict(act))

    report(OUT)
    events.add("NODE_JOINED", "n", "It came.")
    key = (str(OUT["upstream_url"]), "a/b")
    assert ejected(events.kept, 1001.0) == {key}
    assert ejected(events.kept, 1016.0) == frozenset()
    report(BACK)
    assert ejected(events.kept, 1001.0) == {key}
    report({**BACK, "cluster_name": OUT["cluster_name"]})
    assert ejected(events.kept, 1001.0) == frozenset()
