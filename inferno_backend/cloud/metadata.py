"""Asking a metadata service: plain HTTP to an address that only this machine reaches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from types import MappingProxyType, TracebackType
from typing import Any, Self

import aiohttp

from inferno_runtime.errors import Unavailable

# The link-local address of all three. Sources: "Access instance metadata" (Amazon EC2), "About VM metadata" (Google
# Compute Engine), "Azure Instance Metadata Service".
ADDRESS = "169.254.169.254"
# It answers in milliseconds; where it does not, nobody is there, or a container is one hop too far away.
PATIENCE = 0.7


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered; ``headers`` by lower-case name."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def document(self) -> dict[str, Any]:
        """The JSON object it holds.

        Raises:
            Unavailable: It holds none.
        """
        try:
            found = json.loads(self.text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unavailable("The metadata service answered with no JSON object.", reason="BAD_METADATA")
        return found

    def wall(self, ours: float) -> float:
        """The service's own Unix time in seconds, and ``ours`` where it does not tell: its deadlines are by its
        clock."""
        try:
            return parsedate_to_datetime(self.headers["date"]).timestamp()
        except (KeyError, ValueError):
            return ours


class Metadata:
    """Connections to one metadata service, open while the context is."""

    def __init__(self, address: str = "") -> None:
        self._base = f"http://{address or ADDRESS}"

    async def __aenter__(self) -> Self:
        # A proxy of the environment would answer for the wrong machine, or nobody would.
        self._session = aiohttp.ClientSession(trust_env=False, raise_for_status=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(
        self, path: str, headers: Mapping[str, str], *, method: str = "GET", patience: float = PATIENCE
    ) -> Answer:
        """One question, ``patience`` in seconds; any status is an answer.

        Raises:
            Unavailable: Nobody answers in time.
        """
        try:
            async with (
                asyncio.timeout(patience),
                self._session.request(method, self._base + path, headers=headers, allow_redirects=False) as answer,
            ):
                text = await answer.text(errors="replace")
                return Answer(answer.status, text, {name.lower(): value for name, value in answer.headers.items()})
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(
                f"The metadata service at {self._base} does not answer: {str(error) or 'too late'}.",
                reason="NO_METADATA",
                fix="In a container, allow a second hop to it, or say what the machine is in the settings and give "
                "--metadata off.",
            ) from error


def told(path: str, answer: Answer) -> str:
    """The text of an answer; empty where the service knows of nothing at this path.

    Raises:
        Unavailable: It refused.
    """
    if answer.status == 404:
        return ""
    if answer.status != 200:
        raise Unavailable(
            f"The metadata service answered {answer.status} at {path.partition('?')[0]}.",
            reason="METADATA_REFUSED",
            fix="Allow this machine to read its own metadata, or give --metadata off.",
        )
    return answer.text
