"""One question to many model servers at once, each with its own deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.fleet import Member
from inferno_proxy.identity.membership import Membership, dial
from inferno_runtime import rpc
from inferno_runtime.errors import InfernoError

T = TypeVar("T")
# tritonclient's stubs carry no types.
Stub = Any
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Answers(Generic[T]):
    """What the servers said, by node_id, and why the others said nothing of use."""

    given: Mapping[str, T]
    failed: Mapping[str, InfernoError]


async def ask(
    members: Iterable[Member], question: Callable[[Stub], Awaitable[T]], proxy: Membership | None = None
) -> Answers[T]:
    """Put a question to every member's model server, as ``proxy``; the question carries its own time-out.

    A connection lives for one question: it is asked rarely, and fleets change.
    """
    given: dict[str, T] = {}
    failed: dict[str, InfernoError] = {}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(member: Member) -> None:
        node = member.node
        async with gate, dial(node.grpc_address, tls=node.tls, member=proxy) as channel:
            try:
                given[node.node_id] = await question(service_pb2_grpc.GRPCInferenceServiceStub(channel))
            except grpc.aio.AioRpcError as error:
                failed[node.node_id] = rpc.error_from_rpc(error, f"node {node.node_id!r}")

    async with asyncio.TaskGroup() as group:
        for member in members:
            group.create_task(one(member), name=f"ask-{member.node.node_id}")
    return Answers(given, failed)
