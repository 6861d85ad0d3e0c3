"""An API key on calls of every kind that a command makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from inferno_cli.endpoint import Endpoint, connected
from inferno_runtime import rpc
from inferno_runtime.errors import Unauthenticated


def said(context: Any) -> bytes:
    return str(dict(context.invocation_metadata()).get("authorization", "nothing")).encode()


async def one(_: bytes, context: Any) -> bytes:
    return said(context)


async def many(_: Any, context: Any) -> AsyncIterator[bytes]:
    yield said(context)


async def refuse(_: bytes, context: Any) -> bytes:
    raise Unauthenticated("Who calls?", reason="NO_CREDENTIAL", fix="Say so.")


async def refused_by(address: str) -> None:
    async with connected(Endpoint(address)) as channel:
        ask: Any = channel.unary_unary("/s.S/Refuse")
        await ask(b"")


async def test_every_call_carries_the_key_and_without_one_the_way_to_give_it_is_named() -> None:
    server = rpc.server()
    methods: dict[str, Any] = {
        "One": grpc.unary_unary_rpc_method_handler(one),
        "Many": grpc.unary_stream_rpc_method_handler(many),
        "Talk": grpc.stream_stream_rpc_method_handler(many),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s.S", methods),))
    address = rpc.bind(server, "127.0.0.1:0")
    await server.start()
    try:
        async with connected(Endpoint(address, key="inf_x")) as channel:
            first: Any = channel.unary_unary("/s.S/One")
            second: Any = channel.unary_stream("/s.S/Many")
            third: Any = channel.stream_stream("/s.S/Talk")
            answers = [await first(b"", metadata=(("a", "b"),))]
            answers += [answer async for answer in second(b"")]
            answers += [answer async for answer in third(iter([b""]))]
        assert answers == [b"Bearer inf_x"] * 3
        with pytest.raises(Unauthenticated) as refused:
            await refused_by(address)
        assert "--key-file" in refused.value.fix
    finally:
        await server.stop(0)
