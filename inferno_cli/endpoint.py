"""The mesh as the command line reaches it: one public address, one channel, one sentence when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import InfernoError, TimedOut

if TYPE_CHECKING:
    import grpc

DEFAULT = "127.0.0.1:8080"
Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")


def endpoint_option(command: Command) -> Command:
    """Give a command ``--endpoint``."""
    return click.option(
        "--endpoint",
        envvar="INFERNO_ENDPOINT",
        default=DEFAULT,
        metavar="HOST:PORT",
        help=f"Public port of the mesh (default {DEFAULT}, or INFERNO_ENDPOINT).",
    )(command)


def timeout_option(seconds: float) -> Callable[[Command], Command]:
    """Give a command ``--timeout`` with this default."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0.001),
        default=seconds,
        metavar="SECONDS",
        help=f"Give up after (default {seconds:g}).",
    )


@asynccontextmanager
async def connected(endpoint: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the public port; a failed call inside becomes an :class:`InfernoError` that names the endpoint.

    Raises:
        InvalidInput: The endpoint is not ``host:port``.
        InfernoError: A call inside failed.
    """
    parse_address(endpoint, "endpoint")
    import grpc

    from inferno_runtime import rpc

    try:
        async with rpc.channel(endpoint) as channel:
            yield channel
    except grpc.RpcError as error:
        raise _explained(rpc.error_from_rpc(error, f"The mesh at {endpoint}")) from error


def _explained(error: InfernoError) -> InfernoError:
    if error.metadata.get("connection") == "failed":
        error.fix = "Start a mesh with: inferno up. Or name another with --endpoint or INFERNO_ENDPOINT."
    return error


def within(seconds: float, work: Callable[[], Awaitable[T]], what: str) -> T:
    """Run ``work`` to its end.

    Raises:
        TimedOut: It takes longer than ``seconds``.
    """

    async def bounded() -> T:
        try:
            async with asyncio.timeout(seconds):
                return await work()
        except TimeoutError as error:
            raise TimedOut(
                f"{what} took longer than {seconds:g} s.", reason="TIMED_OUT", fix="Allow more with --timeout."
            ) from error

    return asyncio.run(bounded())
