"""Answers are kept for models that stand the audit, and for no others."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2, service_pb2_grpc
from tritonclient.grpc import service_pb2 as wire

from inferno.registration.v1 import node_pb2
from inferno.registration.v1 import registration_service_pb2 as registration
from inferno_backend.cache_audit import Tensor
from inferno_backend.node import Model, ModelState, ModelVersion
from inferno_backend.response_cache import ResponseCache
from inferno_backend.triton.client import TritonClient
from inferno_runtime.errors import Unavailable
from tests.integration.inferno_backend.agent import agent
from tests.integration.inferno_backend.mesh import mesh
from tests.integration.inferno_backend.triton import StandIn, serving

Repository = Callable[..., Path]
READY = (ModelVersion("1", ModelState.READY),)
ONE = Tensor("x", "FP32", (1,), b"\x00\x00\x80?")


class Caching(StandIn):
    """One model ``m`` of a server with a cache. ``computes`` gives an answer's bytes, ``spoils`` lets kept ones rot."""

    def __init__(self, computes: Callable[[bytes], bytes], *, spoils: bool = False, own: bool = False) -> None:
        super().__init__(m="READY")
        self.computes = computes
        self.spoils = spoils
        self.own = own
        self.cached = own
        self.kept: dict[bytes, bytes] = {}
        self.decoupled = False

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        answer = wire.ModelConfigResponse()
        answer.config.name = request.name
        answer.config.response_cache.enable = self.cached
        answer.config.model_transaction_policy.decoupled = self.decoupled
        return answer

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        answer = wire.ModelMetadataResponse(name=request.name)
        answer.inputs.add(name="x", datatype="FP32", shape=[-1])
        answer.outputs.add(name="y", datatype="FP32", shape=[-1])
        return answer

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        await self._check("ModelInfer")
        (asked,) = request.raw_input_contents
        answer = wire.ModelInferResponse(model_name=request.model_name)
        answer.outputs.add(name="y", datatype="FP32", shape=[1])
        if self.cached and asked in self.kept:
            answer.raw_output_contents.append(self.kept[asked])
            return answer
        answer.raw_output_contents.append(self.computes(asked))
        if self.cached:
            self.kept[asked] = bytes(4) if self.spoils else answer.raw_output_contents[0]
        return answer

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        await self._check("RepositoryModelLoad")
        text = request.parameters["config"].string_param
        self.cached = (
            json_format.Parse(text, model_config_pb2.ModelConfig()).response_cache.enable if text else self.own
        )
        return wire.RepositoryModelLoadResponse()


async def begun(server: Caching, folder: Path, *declared: str, fresh: bool = True) -> dict[str, str]:
    async with serving(server) as address, TritonClient(address) as client:
        cache = ResponseCache(declared or ("m",), folder)
        return dict(await cache.begin(client, [Model("m", READY), Model("other", READY)], fresh=fresh))


def last_four(asked: bytes) -> bytes:
    return asked[-4:]


@pytest.mark.parametrize("own", [False, True], ids=["of the mesh", "of the model's own"])
async def test_a_model_that_stands_the_audit_is_cached(tmp_path: Path, own: bool) -> None:
    server = Caching(last_four, own=own)
    assert await begun(server, tmp_path) == {}
    assert server.cached
    assert server.asked["RepositoryModelLoad"] == 1 + own, "a cache of its own is off while the model is audited"


async def test_a_model_that_answers_differently_is_not_cached(tmp_path: Path) -> None:
    server = Caching(lambda _: random.randbytes(4))
    found = await begun(server, tmp_path)
    assert found["m"].startswith("Not cached. Two executions of sample 1 differ: output 'y' differs from byte")
    assert not server.cached


async def test_a_cache_that_answers_differently_is_switched_off_again(tmp_path: Path) -> None:
    server = Caching(last_four, spoils=True)
    assert await begun(server, tmp_path) == {"m": "Not cached. With the cache its answers are others than without."}
    assert not server.cached


async def test_a_model_that_executes_no_sample_is_not_cached(tmp_path: Path) -> None:
    server = Caching(last_four)
    server.failing.add("ModelInfer")
    found = await begun(server, tmp_path)
    assert found["m"].startswith("Not cached. It executes no sample: ")
    assert not server.cached


async def test_a_model_that_cannot_be_loaded_with_a_cache_goes_on_without(tmp_path: Path) -> None:
    server = Caching(last_four)
    server.failing.add("RepositoryModelLoad")
    found = await begun(server, tmp_path)
    assert found["m"].startswith("Not cached. It could not be audited: ")


async def test_a_model_whose_requests_triton_would_confuse_is_not_tried(tmp_path: Path) -> None:
    server = Caching(last_four)
    server.decoupled = True
    found = await begun(server, tmp_path)
    assert found["m"].startswith("Not cached. It is decoupled")
    assert server.asked == Counter()


async def test_a_model_that_nobody_declared_is_left_alone(tmp_path: Path) -> None:
    server = Caching(last_four)
    assert await begun(server, tmp_path, "third") == {}
    async with serving(server) as address, TritonClient(address) as client:
        assert await ResponseCache(["third"], tmp_path).switch_on(client, "m") == ""
    assert server.asked == Counter()


async def test_a_triton_that_served_before_is_left_as_it_is_and_nothing_is_cached_anew(tmp_path: Path) -> None:
    server = Caching(last_four)
    async with serving(server) as address, TritonClient(address) as client:
        cache = ResponseCache(["m"], tmp_path)
        assert await cache.begin(client, [Model("m", READY)], fresh=False) == {}
        assert "Triton may still hold answers of other files" in await cache.switch_on(client, "m")
        assert not server.cached


async def test_an_error_of_the_server_is_one_of_ours(tmp_path: Path) -> None:
    server = Caching(last_four)
    server.failing.add("ModelInfer")
    async with serving(server) as address, TritonClient(address) as client:
        with pytest.raises(Unavailable):
            await client.infer("m", [ONE])


async def test_a_real_triton_keeps_the_answers_of_the_model_that_stands_the_audit(
    tmp_path: Path, repository: Repository
) -> None:
    folder = repository("divide", "noise")
    flags = ("--model-repository", str(folder), "--cache", "divide,noise", "--cache-bytes", str(1 << 20))
    async with mesh() as far, agent(tmp_path / "node", *flags, "--discovery-lb", far.address) as node:
        facts = await node.ready()
        told = reasons(far.registry.node)
        assert told["divide"] == ""
        assert told["noise"].startswith("Not cached. Two executions of sample 1 differ: output 'y' differs")
        assert "a model's answers are not cached" in node.said()
        async with TritonClient(facts["grpc"]) as client:
            computed = (await counts(facts["grpc"], "divide"))[0]
            answers = [await client.infer("divide", [ONE]) for _ in range(3)]
            assert {answer[0].data for answer in answers} == {b"\x00\x00\x00?"}
            executed, hits, misses = await counts(facts["grpc"], "divide")
            assert (executed - computed, hits > 1, misses > 0) == (1, True, True)
            first, second = [await client.infer("noise", [ONE]) for _ in range(2)]
            assert first != second
            # New weights under the old version: what was kept of the old ones must never be seen again.
            (folder / "divide" / "1" / "divisor").write_text("4.0")
            one = registration.DesiredModel(model="divide", loaded=True, generation=1)
            far.registry.wanted.set(registration.RegisterResponse(desired_models=[one]))
            await far.registry.until(lambda told: "answers of other files" in reasons(told)["divide"], 20, "refused")
            assert (await client.infer("divide", [ONE]))[0].data == b"\x00\x00\x80>"


def reasons(node: node_pb2.Node) -> dict[str, str]:
    return {model.name: model.versions[0].reason for model in node.models}


async def counts(address: str, model: str) -> tuple[int, int, int]:
    """Executions of a model, answers from the cache, and requests it had no answer for."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        (one,) = (await stub.ModelStatistics(wire.ModelStatisticsRequest(name=model))).model_stats
    return one.execution_count, one.inference_stats.cache_hit.count, one.inference_stats.cache_miss.count
