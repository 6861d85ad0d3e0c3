"""The documented table of what the proxy itself answers, walked row by row over gRPC and REST."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest_asyncio
from tritonclient.grpc import service_pb2 as pb

from inferno_proxy.fleet import ModelState
from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.routing.traffic import Rate, Traffic, TrafficTable
from tests.integration.inferno_proxy.envoy.world import Server, member, model, proxied, serving, view

DOCS = Path(__file__).parents[4] / "docs" / "traffic.md"
INFER = "/inference.GRPCInferenceService/ModelInfer"
TABLE = TrafficTable(
    {
        "rated": Traffic(rate=Rate(1, 3600)),
        "sized": Traffic(max_request_bytes=1000),
        "late": Traffic(timeout=0.2),
    }
)


@dataclass(frozen=True)
class Provoked:
    """How to bring one answer about: a gRPC call and a REST call."""

    message: bytes = b""
    method: str = INFER
    encoding: str = "identity"
    path: str = ""
    body: bytes = b"{}"
    headers: Mapping[str, str] | None = None


def named(name: str, size: int = 0) -> bytes:
    request = pb.ModelInferRequest(model_name=name)
    request.raw_input_contents.append(bytes(size))
    return bytes(request.SerializeToString())


def packed(encoding: str) -> Mapping[str, str]:
    return {"content-encoding": encoding}


ROWS: Mapping[tuple[str, str], Provoked] = {
    ("INVALID_ARGUMENT", "400"): Provoked(
        b"", path="counter/infer", body=b'{"inputs": [' + b"1, " * 200_000 + b'1], "parameters": {"sequence_id": 7}}'
    ),
    ("NOT_FOUND", "404"): Provoked(named("nothing"), path="nothing/infer"),
    ("UNIMPLEMENTED", "404"): Provoked(method="/some.Service/Call", path="../../elsewhere"),
    ("UNIMPLEMENTED", "415"): Provoked(
        named("late"), encoding="snappy", path="counter/infer", body=b"whatever", headers=packed("br")
    ),
    ("RESOURCE_EXHAUSTED", "429"): Provoked(named("rated"), path="rated/infer"),
    ("RESOURCE_EXHAUSTED", "413"): Provoked(named("sized", 2000), path="sized/infer", body=bytes(2000)),
    ("UNAVAILABLE", "503"): Provoked(named("loading"), path="loading/infer"),
    ("DEADLINE_EXCEEDED", "504"): Provoked(named("late"), path="late/infer"),
}
# A request has to be known before it can be refused: test_fingerprints.py provokes this row over both.
ELSEWHERE = {("FAILED_PRECONDITION", "422")}


def documented() -> list[tuple[str, str]]:
    """The first two columns of the table."""
    section = DOCS.read_text(encoding="utf-8").partition("## What an answer of the proxy itself means")[2]
    return re.findall(r"^\| ([A-Z_]+) \| (\d+) \|", section.partition("\n## ")[0], re.MULTILINE)


@pytest_asyncio.fixture
async def address(socket_dir: Path) -> AsyncIterator[str]:
    """A proxy in front of a node that keeps whatever it is asked."""
    async with serving(Server("n1")) as server:
        server.proceed.clear()
        models = [
            *map(model, TABLE.models),
            model("counter", stateful=True),
            model("loading", state=ModelState.LOADING),
        ]
        async with proxied(socket_dir, view(member(server, models)), routing=RoutingSettings(TABLE)) as address:
            yield address


async def test_every_row_of_the_table_is_what_callers_get(address: str) -> None:
    found: dict[tuple[str, str], tuple[str, str]] = {}
    async with aiohttp.ClientSession() as http:
        await spend_the_rate(http, address)
        for row, provoked in ROWS.items():
            found[row] = await over_grpc(http, address, provoked), await over_rest(http, address, provoked)
    assert found == {row: row for row in documented() if row not in ELSEWHERE}
    assert set(documented()) >= ELSEWHERE


async def spend_the_rate(http: aiohttp.ClientSession, address: str) -> None:
    """Begin the one call that the model ``rated`` allows, over either protocol, and give it up."""
    for url, body, kind in (
        (f"http://{address}{INFER}", frame(named("rated")), "application/grpc"),
        (f"http://{address}/v2/models/rated/infer", b"{}", "application/json"),
    ):
        with contextlib.suppress(TimeoutError):
            limit = aiohttp.ClientTimeout(total=0.3)
            await http.post(url, data=body, headers={"content-type": kind, "te": "trailers"}, timeout=limit)


async def over_grpc(http: aiohttp.ClientSession, address: str, provoked: Provoked) -> str:
    """The status of a call whose bytes are ours, over HTTP/1.1 (which Envoy translates)."""
    headers = {"content-type": "application/grpc", "te": "trailers", "grpc-encoding": provoked.encoding}
    sent = frame(provoked.message, compressed=provoked.encoding != "identity")
    async with http.post(f"http://{address}{provoked.method}", data=sent, headers=headers) as response:
        await response.read()
        assert response.headers["grpc-message"]
        return {str(code.value[0]): code.name for code in grpc.StatusCode}[response.headers["grpc-status"]]


async def over_rest(http: aiohttp.ClientSession, address: str, provoked: Provoked) -> str:
    """The status, after a look at the form of the answer."""
    url = f"http://{address}/v2/models/{provoked.path}"
    async with http.post(url, data=provoked.body, headers=dict(provoked.headers or {})) as response:
        answer: Any = await response.json()
        assert list(answer) == ["error"]
        return str(response.status)


def frame(body: bytes, *, compressed: bool = False) -> bytes:
    """A gRPC message on the wire."""
    return bytes([compressed]) + len(body).to_bytes(4, "big") + body
