"""Tokens that a model of a real Triton publishes: each reaches the governator once, whatever restarts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.integration.inferno_backend.agent import agent, control
from tests.integration.inferno_backend.mesh import mesh
from tests.integration.inferno_backend.test_page import figure, shown
from tests.waiting import eventually


async def say(address: str, words: int) -> None:
    text = b"word " * words
    request = service_pb2.ModelInferRequest(model_name="words")
    request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(text)
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await stub.ModelInfer(request, timeout=60, wait_for_ready=True)


@pytest.mark.timeout(300)
async def test_every_token_is_counted_once_over_a_reload_of_its_model_and_a_crash_of_triton(
    tmp_path: Path, repository: Callable[..., Path]
) -> None:
    models = ("--model-repository", str(repository("words")))
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        facts = await node.ready()

        async def counted(calls: int, read: int) -> None:
            async def stored() -> bool:
                mine = [one.model for one in far.store.samples() if one.model.model == "words"]
                sums = [sum(getattr(one, field) for one in mine) for field in ("requests", "input_tokens")]
                written = sum(one.output_tokens for one in mine)
                return (*sums, written) == (calls, read, 2 * read)

            await eventually(stored, 60, f"{calls} calls and {read} tokens are stored")

        async def anew() -> bool:
            # Before that, a counter that has overtaken its old value would look as if it had gone on.
            return await figure(facts["page"], "inferno_node_model_tokens_total", direction="output") is None

        for words in (1, 2, 3, 4):
            await say(facts["grpc"], words)
        await counted(4, 10)
        labels = {"model": "words", "direction": "output"}
        assert await figure(facts["page"], "inferno_node_model_tokens_total", **labels) == 20
        document = await shown(facts["page"])
        assert [(one["input_tokens"], one["output_tokens"]) for one in document["counters"]] == [(10, 20)]

        await control(facts["grpc"], "words", load=False)
        await control(facts["grpc"], "words", load=True)
        await say(facts["grpc"], 5)
        await counted(5, 15)

        node.triton().kill()

        await eventually(anew, 60, "another Triton counts")
        await say(facts["grpc"], 7)
        await counted(6, 22)
        assert await node.end() == 0
