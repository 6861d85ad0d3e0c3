"""Ask the governator behind the public port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from inferno.governance.v1 import governance_service_pb2_grpc as wire_grpc
from inferno_cli import endpoint as public
from inferno_cli.asking import Asked
from inferno_cli.bill import without_governator

T = TypeVar("T")


def ask(asked: Asked, question: Callable[[Any], Awaitable[T]], what: str) -> T:
    """Ask GovernanceService; ``question`` gets its stub, ``what`` names what is asked about.

    Raises:
        TimedOut: It takes too long.
        Unsupported: There is no governator behind the port.
        InfernoError: Nobody answers, or the answer is a refusal.
    """

    async def call() -> T:
        async with public.connected(asked.endpoint) as channel:
            try:
                return await question(wire_grpc.GovernanceServiceStub(channel))
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    raise without_governator(asked.endpoint, what) from error
                raise

    return public.within(asked.timeout, call, f"Asking the mesh at {asked.endpoint}")
