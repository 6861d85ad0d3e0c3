"""Who may call what, as a real Envoy with the filters of clients decides it."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from tritonclient.grpc import service_pb2 as pb

from inferno_proxy.fleet import Address
from inferno_proxy.routing.access import AccessTable, Budget, Client
from inferno_proxy.routing.aliases import Alias
from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.routing.traffic import Rate
from inferno_runtime.identity.caller import Door
from tests.integration.inferno_proxy.envoy import test_public_port as public
from tests.integration.inferno_proxy.envoy.test_public_port import request
from tests.integration.inferno_proxy.envoy.world import Server, controlling, member, model, proxied, serving, view

MODELS = [model("magika"), model("magika2"), model("counter", stateful=True), model("odd name %é")]
ALIASES = {"chat": Alias("magika"), "odd": Alias("odd name %é"), "secret": Alias("counter")}


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


# A key longer than a block of the hash, and one at its padding's edge.
LONG, EDGE = "k" * 200, "e" * 56
CLIENTS = (
    Client("all", (hashed("inf_all"), hashed(LONG), hashed(EDGE))),
    Client("some", (hashed("inf_some"),), models=("magika", "odd*")),
    Client("none", (hashed("inf_none"),), models=()),
    Client("boss", (hashed("inf_boss"),), operator=True),
    Client("slow", (hashed("inf_slow"),), rate=Rate(2, 3600)),
    # Its period is that of the years 2001 to 2033: it does not end during a test.
    Client("thrifty", (hashed("inf_thrifty"),), budget=Budget(3, 10**9)),
)
NOBODY: Any = ()


class World(public.Client):
    """A caller who may have a key."""

    async def refused(self, name: str, key: str = "", *more: tuple[str, str]) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.infer(name, metadata=[*by(key), *more])
        return caught.value.code(), str(caught.value.details())

    async def rest(self, path: str, key: str = "") -> tuple[int, dict[str, Any]]:
        async with self.http.post(f"{self.url}{path}", json={}, headers=dict(by(key))) as answer:
            return answer.status, await answer.json()

    @property
    def executed(self) -> list[tuple[str, str]]:
        return [(call.method, call.model) for server in self.servers for call in server.calls]


def by(key: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {key}")] if key else []


@pytest_asyncio.fixture
async def world(socket_dir: Path) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(Server("n1")))
        await stack.enter_async_context(controlling(socket_dir))
        routing = RoutingSettings(aliases=ALIASES, access=AccessTable.of(CLIENTS))
        fleet = view(member(server, MODELS))
        address = await stack.enter_async_context(
            proxied(
                socket_dir,
                fleet,
                routing=routing,
                door=Door.PUBLIC,
                clients=CLIENTS,
                governator=Address("127.0.0.1", 9),
            )
        )
        made = World(address, [server], await stack.enter_async_context(aiohttp.ClientSession()))
        stack.push_async_callback(made.channel.close)
        yield made


@pytest.mark.parametrize("key", ["inf_all", LONG, EDGE])
async def test_a_key_lets_a_call_in_and_goes_no_further(world: World, key: str) -> None:
    assert await world.infer("magika", metadata=by(key)) == "n1"
    assert await world.infer("magika", metadata=[("x-api-key", key)]) == "n1"
    assert (await world.rest("/v2/models/magika/infer", key))[0] == 200
    for call in world.servers[0].calls:
        sent = {name.lower(): value for name, value in call.metadata.items()}
        assert sent["x-inferno-client"] == "all"
        assert key not in str(sent)


async def test_who_has_no_key_or_another_one_is_told_so(world: World) -> None:
    code, sentence = await world.refused("magika")
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert sentence == "who calls? Send an API key or a token as 'authorization: Bearer ...'"
    code, sentence = await world.refused("magika", "inf_other")
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert sentence == "the API key or token is not known here: send one that an operator of the mesh gave you"
    async with world.http.post(f"{world.url}/v2/models/magika/infer", json={}) as answer:
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "who calls" in (await answer.json())["error"]
    for path in ("/v2", "/v2/models/stats", "/metrics", "/register"):
        assert (await world.rest(path))[0] == 401
    assert not world.executed


async def test_nobody_calls_himself_a_client(world: World) -> None:
    claims = [("x-inferno-client", "all"), ("x-inferno-access", "*"), ("x-inferno-role", "operator")]
    assert (await world.refused("magika", "", *claims))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert (await world.refused("magika2", "inf_some", *claims))[0] is grpc.StatusCode.PERMISSION_DENIED
    assert (await world.refused("magika", "", ("x-inferno-subject", "s")))[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_probes_need_no_key(world: World) -> None:
    for path in ("/v2/health/ready", "/healthz", "/readyz"):
        assert (await world.rest(path))[1] == {"control": path}
    # The stand-in has no such call: that it says so shows that the call was let in.
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub.ServerLive(pb.ServerLiveRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    # Whoever sends one all the same does not send it any further.
    for key in ("inf_all", "inf_other"):
        sent = [*by(key), ("x-api-key", key)]
        assert (await world.stub.ServerReady(pb.ServerReadyRequest(), metadata=sent)).ready


FORBIDDEN = 'client "some" may not call model "magika2": ask an operator of the mesh'


@pytest.mark.parametrize("header", [(), (("x-inferno-model", "magika2"),)])
async def test_a_model_is_refused_however_it_is_named(world: World, header: Any) -> None:
    assert await world.refused("magika2", "inf_some", *header) == (grpc.StatusCode.PERMISSION_DENIED, FORBIDDEN)
    assert not world.executed


async def test_a_model_is_refused_over_rest_and_by_its_alias(world: World) -> None:
    for path in (
        "/v2/models/magika2/infer",
        "/v2/models/magika2/versions/1/infer",
        "/v2/models/magika2/generate_stream",
    ):
        assert await world.rest(path, "inf_some") == (403, {"error": FORBIDDEN})
    assert (await world.refused("secret", "inf_some"))[0] is grpc.StatusCode.PERMISSION_DENIED
    header = ("x-inferno-model", "secret")
    assert (await world.refused("secret", "inf_some", header))[0] is grpc.StatusCode.PERMISSION_DENIED
    assert (await world.rest("/v2/models/secret/infer", "inf_some"))[0] == 403
    assert (await world.rest("/v2/models/magika/infer", "inf_none"))[0] == 403
    assert not world.executed
    assert await world.infer("chat", metadata=by("inf_some")) == "n1"
    assert (await world.rest("/v2/models/chat/infer", "inf_some"))[0] == 200


async def test_what_is_allowed_works_by_any_name_and_size(world: World) -> None:
    for name in ("magika", "odd name %é", "odd"):
        assert await world.infer(name, metadata=by("inf_some"), size=300_000) == "n1"
    assert await world.infer("magika", metadata=[*by("inf_some"), ("x-inferno-model", "magika")], size=9) == "n1"
    assert (await world.stub.ModelReady(pb.ModelReadyRequest(name="magika"), metadata=by("inf_some"))).ready
    assert await world.infer("counter", metadata=by("inf_all"), sequence=7) == "n1"


async def test_the_header_cannot_hide_what_the_message_asks_for(world: World) -> None:
    code, sentence = await world.refused("magika2", "inf_some", ("x-inferno-model", "magika"))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert sentence.startswith("a message names another model")
    # Who may call every model is asked nothing: for him the header is a short cut and no promise.
    assert await world.infer("magika2", metadata=[*by("inf_all"), ("x-inferno-model", "magika")]) == "n1"
    assert world.executed == [("ModelInfer", "magika2")]


async def test_a_second_name_behind_the_tensors_does_not_count(world: World) -> None:
    """Of a field that comes twice, protobuf takes the last."""
    call: Any = world.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    for size in (10, 100_000):
        twice = (
            request("magika", size=size).SerializeToString()
            + pb.ModelInferRequest(model_name="magika2").SerializeToString()
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(twice, metadata=by("inf_some"))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    # A key of five bytes, of which some libraries drop the upper bits; a group, which others skip.
    for odd in (b"\x8a\x80\x80\x80\x10\x07magika2", b"\x0b\x0c", b"\x00", b"\x0a\x7f"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request("magika").SerializeToString() + odd, metadata=by("inf_some"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not world.executed


@pytest.mark.parametrize("header", [(), (("x-inferno-model", "magika"),)])
async def test_every_message_of_a_stream_is_held_to_the_model(world: World, header: Any) -> None:
    call = world.stub.ModelStreamInfer(metadata=[*by("inf_some"), *header])
    for size in (0, 50_000):
        await call.write(request("magika", size=size))
        assert (await call.read()).infer_response.model_name == "magika"
    await call.write(request("magika2"))
    assert await call.code() is not grpc.StatusCode.OK
    assert {name for _, name in world.executed} == {"magika"}


async def test_a_stream_by_an_alias_stays_with_its_model(world: World) -> None:
    call = world.stub.ModelStreamInfer(metadata=by("inf_some"))
    for name in ("chat", "chat", "magika"):
        await call.write(request(name))
        assert (await call.read()).infer_response.model_name == "magika"
    await call.write(request("secret"))
    assert await call.code() is not grpc.StatusCode.OK
    assert {name for _, name in world.executed} == {"magika"}


async def test_compressed_messages_cannot_be_looked_into(world: World) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub.ModelInfer(
            request("magika", size=3000), metadata=by("inf_some"), compression=grpc.Compression.Gzip
        )
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "do not compress" in str(caught.value.details())
    await world.stub.ModelInfer(request("magika", size=3000), metadata=by("inf_all"), compression=grpc.Compression.Gzip)


async def test_a_client_that_calls_too_often_is_told_so_and_no_other_is(world: World) -> None:
    for _ in range(2):
        await world.infer("magika", metadata=by("inf_slow"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.infer("magika", metadata=by("inf_slow"))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "the limit of this client's calls is reached; try again later"
    trailing = {**dict(caught.value.initial_metadata()), **dict(caught.value.trailing_metadata() or ())}
    assert trailing["grpc-retry-pushback-ms"] == "1000"
    async with world.http.post(
        f"{world.url}/v2/models/magika/infer", json={}, headers={"x-api-key": "inf_slow"}
    ) as answer:
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert await answer.json() == {"error": "the limit of this client's calls is reached; try again later"}
    assert await world.infer("magika", metadata=by("inf_all")) == "n1"


async def test_a_client_whose_budget_is_spent_is_told_until_when_and_no_other_is(world: World) -> None:
    for _ in range(2):
        await world.infer("magika", metadata=by("inf_thrifty"))
    # A call counts over REST as well, and a probe does not.
    assert (await world.rest("/v2/models/magika/infer", "inf_thrifty"))[0] == 200
    assert (await world.rest("/v2/health/ready", "inf_thrifty"))[0] == 200
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.infer("magika", metadata=by("inf_thrifty"))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    sentence = r"this client's budget of 3 calls is spent; the next begins in \d+ seconds"
    assert re.fullmatch(sentence, str(caught.value.details()))
    assert dict(caught.value.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "-1"
    infer = f"{world.url}/v2/models/magika/infer"
    async with world.http.post(infer, json={}, headers=dict(by("inf_thrifty"))) as answer:
        assert answer.status == 429
        assert 0 < int(answer.headers["retry-after"]) <= 10**9
        assert re.fullmatch(sentence, (await answer.json())["error"])
    assert await world.infer("magika", metadata=by("inf_all")) == "n1"


async def test_the_governator_answers_operators_alone(world: World) -> None:
    ask: Any = world.channel.unary_unary("/inferno.governance.v1.GovernanceService/GetCostReport")
    codes = []
    for key in ("inf_all", "inf_boss"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(b"", metadata=by(key))
        codes.append(caught.value.code())
    # Nobody is at the governator's address.
    assert codes == [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE]
