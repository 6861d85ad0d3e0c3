"""What a real Envoy writes and sends of single calls: its access log, and traces to a collector."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.call_records import Traces
from inferno_proxy.envoy.ejections import ACCESS_LINE
from inferno_proxy.fleet import Address
from tests.integration.inferno_proxy.envoy.world import Server, controlling, member, model, proxied, serving, view
from tests.integration.inferno_proxy.proxies import proxy
from tests.integration.inferno_proxy.test_proxy import infer as answered
from tests.integration.inferno_proxy.test_proxy import register
from tests.integration.inferno_proxy.tritons import triton
from tests.waiting import eventually

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(otlp_grpc.TraceServiceServicer):
    """Keeps every span it gets, and the attributes of who sent it."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.senders: list[dict[str, str]] = []
        self.address = Address("127.0.0.1", 0)

    def whole(self) -> bool:
        """Whether some call took more than one try, and every try's call has come: spans come in several exports."""
        calls = {span.span_id for span in self.spans if span.kind == Span.SPAN_KIND_SERVER}
        tries = [span.parent_span_id for span in self.spans if span.kind == Span.SPAN_KIND_CLIENT]
        return len(tries) > len(set(tries)) and calls == set(tries)

    async def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            self.senders.append({each.key: each.value.string_value for each in resource.resource.attributes})
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return otlp.ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector, server = Collector(), grpc.aio.server()
    otlp_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.address = Address("127.0.0.1", server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)


async def infer(where: str, name: str, **metadata: str) -> None:
    sent = tuple((key.replace("_", "-"), value) for key, value in metadata.items())
    async with grpc.aio.insecure_channel(where) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await stub.ModelInfer(pb.ModelInferRequest(model_name=name), timeout=60, metadata=sent)


def attributes(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


def written(file: Path) -> list[dict[str, Any]]:
    whole = file.read_text().rpartition("\n")[0] if file.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


async def test_each_call_is_a_line_without_what_is_secret(socket_dir: Path) -> None:
    log = socket_dir / "access.log"
    async with serving(Server("a")) as server, controlling(socket_dir):
        fleet = view(member(server, [model("m")]))
        async with proxied(socket_dir, fleet, access_log=str(log)) as where:
            await infer(where, "m", authorization="Bearer hush", x_request_id="r-1")
            with pytest.raises(grpc.aio.AioRpcError):
                await infer(where, "nobody-has-it")
            url = f"http://{where}/v2/models/m/infer?api_key=hush"
            async with aiohttp.ClientSession() as http, http.post(url, data=b"{}") as answer:
                assert answer.status == 200
            await eventually(lambda: len(written(log)) == 3, 3, "three lines")
            served, missing, rest = written(log)
    text = log.read_text()
    assert "hush" not in text
    assert all(line.encode().startswith(ACCESS_LINE) for line in text.splitlines())
    expected = {
        "component": "access",
        "event": "call",
        "route": "model m",
        "model": "m",
        "status": 200,
        "grpc_status": "OK",
        "node": "a",
        "upstream": str(server.address),
        "tries": 1,
        "request_id": "r-1",
        "path": "/inference.GRPCInferenceService/ModelInfer",
    }
    assert {name: served[name] for name in expected} == expected
    assert served["milliseconds"] >= 0
    assert served["bytes_sent"] > 0
    assert (missing["route"], missing["grpc_status"], missing["node"]) == ("no-such-model", "NOT_FOUND", None)
    assert (rest["path"], rest["status"], rest["grpc_status"]) == ("/v2/models/m/infer", 200, None)


async def test_a_call_and_each_of_its_tries_are_spans_of_the_callers_trace(socket_dir: Path) -> None:
    async with (
        serving(Server("a")) as bad,
        serving(Server("b")) as good,
        controlling(socket_dir),
        collecting() as collector,
    ):
        fleet = view(member(bad, [model("m")]), member(good, [model("m")]))
        bad.failure = grpc.StatusCode.UNAVAILABLE
        async with proxied(socket_dir, fleet, traces=Traces(collector.address, 0.0)) as where:
            await infer(where, "m")
            bad.calls.clear()
            while not bad.calls:
                # Whichever node is asked first; the one that fails hands the call on.
                await infer(where, "m", traceparent=f"00-{TRACE}-{PARENT}-01")

            await eventually(collector.whole, 10, "the spans of a call that was tried again")
            spans = collector.spans
            [told] = {call.metadata["traceparent"].split("-")[1] for call in bad.calls}
    assert told == TRACE
    assert {span.trace_id.hex() for span in spans} == {TRACE}, "a call without a trace is not sampled at 0 %"
    calls = {span.span_id: span for span in spans if span.kind == Span.SPAN_KIND_SERVER}
    assert {span.parent_span_id.hex() for span in calls.values()} == {PARENT}
    tries = [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert {span.parent_span_id for span in tries} <= calls.keys()
    assert {attributes(span)["inferno.node"] for span in tries} == {"a", "b"}
    assert all(attributes(span)["inferno.route"] == "model m" for span in spans)
    assert collector.senders[0]["service.name"] == "inferno-proxy"


async def test_a_share_of_calls_is_traced_without_query_strings(socket_dir: Path) -> None:
    async with serving(Server("a")) as server, controlling(socket_dir), collecting() as collector:
        fleet = view(member(server, [model("m")]))
        async with proxied(socket_dir, fleet, traces=Traces(collector.address, 100.0)) as where:
            url = f"http://{where}/v2/models/m/infer?api_key=hush"
            async with aiohttp.ClientSession() as http, http.post(url, data=b"{}") as answer:
                assert answer.status == 200
            spans = await eventually(lambda: collector.spans, 10, "spans")
    assert "hush" not in str(spans)
    assert all(attributes(span)["http.url"] == "/v2/models/m/infer" for span in spans)


async def test_a_collector_that_is_gone_costs_no_call(socket_dir: Path) -> None:
    async with serving(Server("a")) as server, controlling(socket_dir):
        fleet = view(member(server, [model("m")]))
        async with proxied(socket_dir, fleet, traces=Traces(Address("127.0.0.1", 1), 100.0)) as where:
            await asyncio.gather(*(infer(where, "m") for _ in range(20)))


async def test_a_log_that_was_moved_away_is_begun_anew_at_a_hangup(socket_dir: Path) -> None:
    log = socket_dir / "access.log"
    async with triton() as server, proxy(socket_dir, "--access-log", str(log)) as running:
        await register(running, server)
        await eventually(lambda: answered(running.channel), 3, "a request reaches the node")
        await eventually(lambda: written(log), 3, "a line")
        log.rename(socket_dir / "access.log.1")
        running.process.send_signal(signal.SIGHUP)
        await eventually(log.exists, 3, "a new file")
        assert await answered(running.channel)
        lines = await eventually(lambda: written(log), 3, "a line")
        assert lines[-1]["route"] == "model m"
