"""Headers that steer, sent from outside to a real Envoy."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.integration.inferno_proxy.envoy.test_public_port import Client
from tests.integration.inferno_proxy.envoy.world import Server, member, model, proxied, serving, view

IDENTITY = {f"x-inferno-{name}": "me" for name in ("door", "client", "role", "access", "subject")}
STEERING = {"x-inferno-other": "1", "x-inferno-fingerprint": "0123", "x-envoy-anything": "1", "x-envoy-retry-on": "5xx"}
ALLOWED = {"x-inferno-model": "m", "x-inferno-priority": "high", "x-session": "s"}


@contextlib.asynccontextmanager
async def client(folder: Path, *trusted: str) -> AsyncIterator[Client]:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(Server("n1")))
        address = await stack.enter_async_context(
            proxied(folder, view(member(server, [model("m")])), asked_for=("x-inferno-priority",), trusted=trusted)
        )
        made = Client(address, [server], await stack.enter_async_context(aiohttp.ClientSession()))
        stack.push_async_callback(made.channel.close)
        yield made


async def seen(client: Client) -> list[set[str]]:
    """What of the headers sent arrives at the node, over gRPC and REST."""
    sent = {**IDENTITY, **STEERING, **ALLOWED}
    await client.infer("m", metadata=list(sent.items()))
    async with client.http.post(f"{client.url}/v2/models/m/infer", json={}, headers=sent) as answer:
        assert answer.status == 200
    arrived = [{name.lower() for name in call.metadata} for call in client.servers[0].calls]
    return [names & {*IDENTITY, *STEERING, *ALLOWED} for names in arrived]


@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8",)])
async def test_a_client_cannot_steer(socket_dir: Path, trusted: tuple[str, ...]) -> None:
    async with client(socket_dir, *trusted) as outside:
        assert await seen(outside) == [set(ALLOWED)] * 2


async def test_a_trusted_peer_steers_but_cannot_say_who_calls(socket_dir: Path) -> None:
    async with client(socket_dir, "10.0.0.0/8", "127.0.0.0/8") as gateway:
        grpc, rest = await seen(gateway)
        assert {"x-inferno-other", "x-envoy-anything"} | set(ALLOWED) <= grpc & rest
        assert not set(IDENTITY) & (grpc | rest)
