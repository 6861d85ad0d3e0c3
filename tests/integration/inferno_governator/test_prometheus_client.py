"""What a Prometheus may answer: recorded from version 2.42, and what else may stand at its address."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import encode_basic_auth, web

from inferno_governator.prometheus.client import Prometheus
from inferno_governator.prometheus.meter import Meter, Thing
from inferno_governator.prometheus.vocabulary import DCGM, TRITON, VLLM
from inferno_runtime.errors import Exhausted, InfernoError, InvalidInput, Unauthenticated, Unavailable
from inferno_runtime.process import free_port

RECORDED = Path(__file__).parents[2] / "recordings" / "prometheus"


def recorded(name: str) -> dict[str, Any]:
    answer = json.loads((RECORDED / f"{name}.json").read_text())
    assert isinstance(answer, dict)
    return answer


@asynccontextmanager
async def answering(status: int, body: str, asked: list[dict[str, str]] | None = None) -> AsyncIterator[Prometheus]:
    """A server with one answer to everything; ``asked`` takes the forms of the questions and who asked."""

    async def answer(request: web.Request) -> web.Response:
        if asked is not None:
            form = {name: str(value) for name, value in (await request.post()).items()}
            asked.append({**form, "path": request.path, "authorization": request.headers.get("Authorization", "")})
        return web.Response(status=status, text=body)

    application = web.Application()
    application.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with Prometheus(f"http://me:hush@{host}:{port}/prefix/", 'job="models"') as server:
            yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def answering_as_recorded(name: str, asked: list[dict[str, str]] | None = None) -> AsyncIterator[Prometheus]:
    answer = recorded(name)
    async with answering(answer["status"], json.dumps(answer["body"]), asked) as server:
        yield server


async def test_the_clock_of_the_server_is_read() -> None:
    async with answering_as_recorded("time") as server:
        assert await server.now() == 1_795_462_111_346


async def test_samples_come_with_the_times_of_their_scrapes_and_what_was_read_before_is_left_out() -> None:
    asked: list[dict[str, str]] = []
    async with answering_as_recorded("triton", asked) as server:
        found = await server.samples(TRITON, 1_795_462_111_139, 1_795_462_112_000)
    [question] = asked
    assert question["query"].endswith('", job="models"}[861ms]')
    assert '"nv_inference_request_success|' in question["query"]
    assert question["time"] == "1795462112.000"
    assert question["path"] == "/prefix/api/v1/query"
    assert question["authorization"] == encode_basic_auth("me", "hush")
    assert {(one.name, tuple(one.samples)) for one in found} == {
        ("nv_inference_pending_request_count", ((1_795_462_111_340, 3.0),)),
        ("nv_inference_request_success", ((1_795_462_111_340, 9.0),)),
    }


@pytest.mark.parametrize(
    ("name", "names", "thing", "fields"),
    [
        ("triton", TRITON, Thing("10.0.0.7", "model", "m", "1"), {"requests": 4, "pending": 3}),
        ("vllm", VLLM, Thing("10.0.0.8", "model", "llama", ""), {"requests": 0, "client_errors": 0, "input_tokens": 0}),
        ("dcgm", DCGM, Thing("10.0.0.7", "gpu", "GPU-a", ""), {"busy": 500_000}),
    ],
)
async def test_what_a_real_prometheus_answered_is_understood(
    name: str, names: dict[str, object], thing: Thing, fields: dict[str, int]
) -> None:
    async with answering_as_recorded(name) as server:
        taken = Meter("instance").take(await server.samples(names, 0, 1_795_462_112_000), {}, 0)
    window = taken.windows[thing][-1]
    assert fields.items() <= window.values.items()
    assert 150 <= window.length <= 250


async def test_nothing_scraped_is_an_empty_answer() -> None:
    async with answering_as_recorded("nothing") as server:
        assert await server.samples(["nothing"], 0, 1000) == []


async def refusal(status: int, body: str) -> InfernoError:
    async with answering(status, body) as server:
        with pytest.raises(InfernoError) as refused:
            await server.samples(["x"], 0, 1000)
    assert "hush" not in refused.value.sentence()
    return refused.value


async def test_a_question_it_does_not_understand_is_repeated_with_the_setting_that_is_wrong() -> None:
    answer = recorded("bad_matchers")
    error = await refusal(answer["status"], json.dumps(answer["body"]))
    assert isinstance(error, InvalidInput)
    assert "unterminated quoted string" in str(error)
    assert "metrics_match" in error.fix


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, "Unauthorized", Unauthenticated, "refuses us with HTTP status 401"),
        (404, "<html>not here</html>", InvalidInput, "is no Prometheus server"),
        (200, "<html>a login page</html>", InvalidInput, "is no Prometheus server"),
        (200, '{"status": "success", "data": {"result": [{"values": 3}]}}', InvalidInput, "is no Prometheus server"),
        (200, '{"status": "success", "data": 7}', InvalidInput, "is no Prometheus server"),
        (200, "[]", InvalidInput, "is no Prometheus server"),
        (302, "", InvalidInput, "is no Prometheus server"),
        (502, "Bad Gateway", Unavailable, "HTTP status 502"),
        (503, '{"status": "error", "error": "query timed out"}', Unavailable, "query timed out"),
        (
            422,
            '{"status": "error", "error": "query processing would load too many samples into memory"}',
            Exhausted,
            "too many samples",
        ),
    ],
)
async def test_whatever_else_answers_is_one_clear_sentence(
    status: int, body: str, kind: type[InfernoError], said: str
) -> None:
    error = await refusal(status, body)
    assert isinstance(error, kind)
    assert said in str(error)


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    port = free_port()
    async with Prometheus(f"http://me:hush@127.0.0.1:{port}") as server:
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port} cannot be reached") as refused:
            await server.now()
    assert "hush" not in refused.value.sentence()


@pytest.mark.parametrize("address", ["prometheus", "prometheus:0", "ftp://prometheus:9090", "http://", ":9090"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput):
        Prometheus(address)
