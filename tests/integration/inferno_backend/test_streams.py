"""Streams of a real model: one that hangs is reported, one that is slow never, and a drain waits for what runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno.registration.v1 import node_pb2
from inferno_backend.triton import streams
from tests.integration.inferno_backend.agent import agent
from tests.integration.inferno_backend.mesh import mesh
from tests.waiting import eventually


class Talk:
    """A stream of model ``talk``, and when its responses came."""

    def __init__(self, stub: Any, pauses_ms: Sequence[float]) -> None:
        request = service_pb2.ModelInferRequest(model_name="talk")
        tensor = request.inputs.add(name="pauses_ms", datatype="FP32", shape=[len(pauses_ms)])
        tensor.contents.fp32_contents.extend(pauses_ms)
        self._wanted = len(pauses_ms)
        self.came: list[float] = []
        self._call = stub.ModelStreamInfer(self._asking(request))
        self.over = asyncio.create_task(self._listen())

    async def _asking(self, request: service_pb2.ModelInferRequest) -> Any:
        yield request
        await self.over

    async def _listen(self) -> None:
        async for response in self._call:
            assert not response.error_message
            self.came.append(time.monotonic())
            if len(self.came) == self._wanted:
                return


def ready(node: node_pb2.Node) -> bool:
    return node.models[0].versions[0].state == node_pb2.MODEL_STATE_READY


async def test_a_stream_that_hangs_is_reported_within_two_seconds_of_what_was_learned_and_others_never(
    tmp_path: Path, repository: Callable[..., Path]
) -> None:
    models = ("--model-repository", str(repository("talk")), "--stall-after", "0.6", "--drain-timeout", "20")
    async with mesh() as far, agent(tmp_path / "node", *models, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(facts["grpc"], options=options) as channel:
            stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            # A first response that takes as long as a compile, then the pauses that are learned, one of them longer.
            await Talk(stub, [2000, *[20] * 12, 400]).over
            # Silence between streams is none within one; and one that is slower than before moves.
            await asyncio.gather(Talk(stub, [1000, 450, 450, 450]).over, Talk(stub, [20] * 3).over)
            assert all(ready(said) for _, _, said in far.registry.nodes), "none of this was a stall"

            (learned,) = streams.read(node.launch["shm_prefix"])["talk", "1"]
            hangs = Talk(stub, [20, 20, 6000, 20])
            stalled = await far.registry.until(lambda one: not ready(one), 8, "the hung stream is reported")
            late = far.registry.nodes[-1][0] - hangs.came[-1] - 5 * learned.gap
            assert len(hangs.came) == 2
            assert far.registry.loads[-1].models[0].executing == 1.0
            assert late < 2, f"reported {late:.1f} s after five times the longest pause, {learned.gap:.2f} s"
            assert "1 streams run and none has sent anything" in stalled.models[0].versions[0].reason
            assert stalled.condition == node_pb2.NODE_CONDITION_SERVING, "the node's other models go on"
            await far.registry.until(ready, 10, "it is offered again when the stream goes on")
            await hangs.over

            runs = Talk(stub, [200] * 10)
            await eventually(lambda: runs.came, 10, "the stream has begun")
            assert await node.end(within=30) == 0
            await runs.over
            assert len(runs.came) == 10, "a stream that ran was finished before the end"
        assert "work was still waiting" not in node.said()
        assert not node.leftovers()
