"""Nodes that an HTTP service of the user's starts and stops.

``POST`` with ``{"verb": "start" | "stop" | "check", "node": ..., "pool": {...}, "rehearsed": ...}`` and ``GET`` for the
list, ``{"nodes": [{"node", "pool", "state", "born_at", "machine", "zone", "why"}]}``. Every request is signed:
``X-Inferno-Signature: t=SECONDS,v1=HEX`` is HMAC-SHA256 over ``SECONDS.METHOD.BODY`` with the shared secret, and a
start bears ``Idempotency-Key``, the node's name
(https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pydantic

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.options import Options, read
from inferno_governator.providers.provider import Machine, MachineState
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import (
    Denied,
    Exhausted,
    InfernoError,
    InvalidInput,
    TimedOut,
    Unauthenticated,
    Unavailable,
)

_SECONDS = 30.0
_ATTEMPTS = 3
# A list of ten thousand nodes has some three megabytes.
_MOST_BYTES = 16 * 1024 * 1024
_FIX = "Check that the service of the option url runs; what was asked may have been done."


class WebhookOptions(Options):
    """What a pool tells this provider."""

    url: str = pydantic.Field(description="Where the service answers.", pattern=r"^https?://")
    secret_file: str = pydantic.Field(description="File with the shared secret.", min_length=1)


class _Node(pydantic.BaseModel):
    node: str
    pool: str
    state: MachineState
    born_at: float = 0.0
    machine: str = ""
    zone: str = ""
    why: str = ""


class _Answer(pydantic.BaseModel):
    nodes: list[_Node]


class Webhook:
    """Asks a service. Pools of one ``url`` are one service."""

    name = "webhook"

    def __init__(self, pools: Sequence[Pool], clock: Clock) -> None:
        self._pools = pools
        self._clock = clock

    async def check(self) -> str:
        """As :meth:`inferno_governator.providers.provider.Provider.check`."""
        for pool in self._pools:
            await self._post(pool, {"verb": "check", "node": "", "pool": asdict(pool), "rehearsed": True})
        return f"The services {', '.join(self._services())}."

    async def start(self, node: str, pool: Pool) -> None:
        """As :meth:`inferno_governator.providers.provider.Provider.start`."""
        await self._post(pool, {"verb": "start", "node": node, "pool": asdict(pool), "rehearsed": not pool.act})

    async def stop(self, node: str) -> None:
        """As :meth:`inferno_governator.providers.provider.Provider.stop`."""
        for pool in self._services().values():
            await self._post(pool, {"verb": "stop", "node": node, "rehearsed": False})

    async def nodes(self) -> Sequence[Machine]:
        """As :meth:`inferno_governator.providers.provider.Provider.nodes`."""
        found: list[Machine] = []
        for url, pool in self._services().items():
            answer = await self._ask(pool, "GET", b"", {})
            try:
                listed = _Answer.model_validate_json(answer).nodes
            except pydantic.ValidationError as error:
                first = error.errors(include_url=False)[0]
                raise Unavailable(
                    f"The service {url} answers what is no list of nodes: "
                    f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}.",
                    reason="BAD_ANSWER",
                    fix="See docs/providers.md for what it has to answer.",
                ) from error
            found += [Machine(**each.model_dump()) for each in listed]
        return found

    def _services(self) -> dict[str, Pool]:
        """One pool for each address."""
        return {read(pool, WebhookOptions).url: pool for pool in self._pools}

    async def _post(self, pool: Pool, message: dict[str, Any]) -> None:
        body = json.dumps(message, sort_keys=True).encode()
        key = {"Idempotency-Key": message["node"]} if message["verb"] == "start" else {}
        await self._ask(pool, "POST", body, {"Content-Type": "application/json", **key})

    async def _ask(self, pool: Pool, method: str, body: bytes, headers: dict[str, str]) -> bytes:
        """Ask, and ask again while it cannot be reached. Every question may be asked twice."""
        options = read(pool, WebhookOptions)
        try:
            secret = Path(options.secret_file).read_bytes().strip()
        except OSError as error:
            raise Unauthenticated(
                f"Pool {pool.name!r}: the secret {options.secret_file} cannot be read: {error.strerror}.",
                reason="NO_CREDENTIALS",
                fix="Give a file with the shared secret with secret_file.",
            ) from error
        backoff = Backoff(0.2, 2.0)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._once(options.url, secret, method, body, headers)
            except (Unavailable, TimedOut):
                if attempt == _ATTEMPTS:
                    raise
            await self._clock.sleep(backoff.next())
        raise AssertionError

    async def _once(self, url: str, secret: bytes, method: str, body: bytes, headers: dict[str, str]) -> bytes:
        import aiohttp

        signed = {"X-Inferno-Signature": signature(secret, int(self._clock.wall()), method, body), **headers}
        limit = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.request(method, url, data=body, headers=signed, allow_redirects=False) as answer,
            ):
                text = await answer.content.read(_MOST_BYTES + 1)
                while len(text) <= _MOST_BYTES and (more := await answer.content.read(_MOST_BYTES)):
                    text += more
                if answer.status // 100 != 2:
                    raise _refused(url, answer.status, text)
                if len(text) > _MOST_BYTES:
                    raise Unavailable(f"The service {url} answers without end.", reason="BAD_ANSWER", fix=_FIX)
                return text
        except TimeoutError as error:
            raise TimedOut(
                f"The service {url} does not answer within {_SECONDS:g} s.", reason="PROVIDER_TIMED_OUT", fix=_FIX
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(
                f"The service {url} cannot be reached: {str(error) or type(error).__name__}.",
                reason="PROVIDER_UNAVAILABLE",
                fix=_FIX,
            ) from error


def signature(secret: bytes, at: int, method: str, body: bytes) -> str:
    """The signature of a request, with its time (Unix seconds), so that an old one cannot be sent again.

    >>> signature(b"secret", 1_800_000_000, "GET", b"")
    't=1800000000,v1=1e202056158548d1dffd4c6bc0b4ef26d38874d7826ef4e5f524725083440802'
    """
    signed = b".".join((str(at).encode(), method.encode(), body))
    return f"t={at},v1={hmac.new(secret, signed, hashlib.sha256).hexdigest()}"


def _refused(url: str, status: int, body: bytes) -> InfernoError:
    said = " ".join(body.decode(errors="replace").split())[:200]
    message = f"The service {url} answers {status}{f': {said}' if said else ''}."
    if status == 401:
        return Unauthenticated(message, reason="BAD_CREDENTIALS", fix="Give both sides the same secret.")
    if status == 403:
        return Denied(message, reason="NOT_ALLOWED", fix="Let it allow what was asked.")
    if status == 429:
        return Exhausted(message, reason="THROTTLED", fix="Ask again later, and less often.")
    # 507 Insufficient Storage is the nearest that HTTP has.
    if status == 507:
        return Exhausted(message, reason="NO_CAPACITY", fix="Wait, or let another pool carry the load.")
    if status >= 500:
        return Unavailable(message, reason="PROVIDER_UNAVAILABLE", fix=_FIX)
    return InvalidInput(message, reason="BAD_POOL", fix="Mend the pool's settings.")
