"""A certificate for a token, and a newer one for a certificate, asked of the proxies in turn."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc

from inferno.identity.v1 import identity_service_pb2 as wire
from inferno.identity.v1 import identity_service_pb2_grpc as stubs
from inferno_backend.link import Link
from inferno_runtime import rpc
from inferno_runtime.errors import InfernoError, InvalidInput, Unavailable
from inferno_runtime.identity.authority import PROXY_HOST, Request, pinned
from inferno_runtime.identity.join_token import JoinToken

_AUTHORITY = "/identity/authority"
_LARGEST = 256 * 1024
_SECONDS = 5.0
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
Ask = Callable[[str], Awaitable[wire.Credential]]


def read_token(path: Path) -> JoinToken:
    """The token in a file that only its owner may read.

    Raises:
        InvalidInput: TOKEN_UNREADABLE, TOKEN_EXPOSED or BAD_TOKEN.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidInput(
            f"The join token {path} cannot be read: {error.strerror}.",
            reason="TOKEN_UNREADABLE",
            fix="Check the path given with --join-token-file, and who may read it.",
        ) from error
    if mode & _OTHERS:
        raise InvalidInput(
            f"The join token {path} is open to other users (mode {stat.S_IMODE(mode):04o}).",
            reason="TOKEN_EXPOSED",
            fix=f"Revoke it, make another one, and run: chmod 600 {path}.",
        )
    return JoinToken.parse(text)


async def join(proxies: Sequence[str], token: JoinToken, node_id: str, request: Request) -> wire.Credential:
    """A first certificate, from the first proxy that gives one.

    Raises:
        InfernoError: None does. A temporary error when one may do so later.
    """

    async def ask(proxy: str) -> wire.Credential:
        authority = pinned(await _authority(proxy), token.pin)
        async with Link(authority).channel(proxy) as channel:
            stub: Any = stubs.IdentityServiceStub(channel)
            message = wire.JoinRequest(
                token=str(token), role=wire.MEMBER_ROLE_NODE, name=node_id, certificate_request=request.csr
            )
            answer: wire.JoinResponse = await stub.Join(message, timeout=_SECONDS)
            return answer.credential

    return await _first(proxies, ask)


async def renew(proxies: Sequence[str], link: Link, request: Request) -> wire.Credential:
    """A newer certificate, from the first proxy that gives one.

    Raises:
        InfernoError: None does.
    """

    async def ask(proxy: str) -> wire.Credential:
        async with link.channel(proxy) as channel:
            stub: Any = stubs.IdentityServiceStub(channel)
            message = wire.RenewRequest(certificate_request=request.csr)
            answer: wire.RenewResponse = await stub.Renew(message, timeout=_SECONDS)
            return answer.credential

    return await _first(proxies, ask)


async def _first(proxies: Sequence[str], ask: Ask) -> wire.Credential:
    refusals: list[InfernoError] = []
    for proxy in proxies:
        try:
            return await ask(proxy)
        except grpc.aio.AioRpcError as error:
            refusals.append(rpc.error_from_rpc(error, f"the proxy at {proxy}"))
        except InfernoError as error:
            refusals.append(error)
    # While one proxy may answer otherwise later, the others' refusals are not the last word.
    raise next((error for error in refusals if error.temporary), refusals[0])


def _why(error: Exception) -> str:
    """The cause alone: aiohttp wraps an OSError in the address and words of its own."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, TimeoutError):
        return f"no answer within {_SECONDS:g} s"
    number = getattr(cause, "errno", None)
    # A name that is not found has a number of its own kind, and its words in ``strerror``.
    if isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number)
    return getattr(cause, "strerror", "") or str(error) or type(error).__name__


async def _authority(proxy: str) -> bytes:
    """The CAs of whoever answers at this address, PEM: nothing to be believed before its pin was checked.

    Raises:
        Unavailable: NO_ANSWER: nobody answers over TLS. AUTHORITY_UNUSABLE: the proxy has trouble with its CA.
        InvalidInput: NOT_A_MESH_PORT.
    """
    import aiohttp

    try:
        async with (
            asyncio.timeout(_SECONDS),
            aiohttp.ClientSession() as session,
            session.get(
                f"https://{proxy}{_AUTHORITY}", ssl=False, server_hostname=PROXY_HOST, allow_redirects=False
            ) as answer,
        ):
            content = await answer.content.read(_LARGEST)
    except aiohttp.ClientSSLError as error:
        raise Unavailable(
            f"What answers at {proxy} speaks no TLS.",
            reason="NO_ANSWER",
            fix="Give the address of the proxy's mesh port, not that of its public port.",
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(
            f"The proxy at {proxy} does not answer over TLS ({_why(error)}).",
            reason="NO_ANSWER",
            fix="Check that the address is the proxy's mesh port, and that it runs.",
        ) from error
    if answer.status >= 500:
        raise Unavailable(
            f"The proxy at {proxy} has a CA that it cannot use now (HTTP {answer.status}).",
            reason="AUTHORITY_UNUSABLE",
            fix="Look into the proxy's log: it says why.",
        )
    if answer.status != 200:
        raise InvalidInput(
            f"What answers at {proxy} has no CA to show (HTTP {answer.status}).",
            reason="NOT_A_MESH_PORT",
            fix="Give the address of a proxy's mesh port.",
        )
    return content
