"""Questions to a Prometheus server, over its HTTP API.

Raw samples are asked for, with the times of their scrapes, by an instant query with a range selector
(https://prometheus.io/docs/prometheus/latest/querying/api/): a range query would give values made up at its steps.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import SplitResult, unquote, urlsplit

import aiohttp

from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import Exhausted, InfernoError, InvalidInput, Unauthenticated, Unavailable

_SECONDS = 30.0
_MOST_BYTES = 64 * 1024 * 1024
_UNAUTHENTICATED = {401, 403}
# A question that is wrong, and one that cannot be worked out, for example because it would load too many samples.
_BAD_QUESTION, _TOO_MUCH = 400, 422


class RawSeries(NamedTuple):
    """One series and its samples, oldest first: when each was scraped (Unix milliseconds), and its value."""

    name: str
    labels: Mapping[str, str]
    samples: list[tuple[int, float]]


class Prometheus:
    """A server, from ``async with`` on. ``matchers`` are further label matchers of every question.

    Raises when made:
        InvalidInput: The address is neither HOST:PORT nor a URL.
    """

    def __init__(self, address: str, matchers: str = "") -> None:
        url = _url(address)
        self._headers: dict[str, str] = {}
        if url.username:
            login = aiohttp.encode_basic_auth(unquote(url.username), unquote(url.password or ""))
            self._headers["Authorization"] = login
        place = url.netloc.rpartition("@")[2]
        self._url = f"{url.scheme}://{place}{url.path.rstrip('/')}/api/v1/query"
        self._shown = f"{place}{url.path.rstrip('/')}"
        self._matchers = matchers.strip().strip("{}")

    def __str__(self) -> str:
        return self._shown

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def now(self) -> int:
        """The server's own clock, Unix milliseconds: it stamps what it scrapes.

        Raises:
            InfernoError: As :meth:`samples`.
        """
        data = await self._ask({"query": "time()"})
        try:
            return int(float(data["result"][1]) * 1000)
        except (LookupError, TypeError, ValueError) as error:
            raise self._stranger() from error

    async def samples(self, names: Iterable[str], start: int, end: int) -> list[RawSeries]:
        """Everything scraped of some metrics after ``start`` and not after ``end`` (Unix milliseconds).

        Raises:
            Unavailable: The server cannot be reached, or cannot answer now.
            Exhausted: The answer is too large: ask for less.
            Unauthenticated, InvalidInput: It does not let us, does not understand the question, or is no Prometheus.
        """
        selector = f'__name__=~"{"|".join(names)}"' + (f", {self._matchers}" if self._matchers else "")
        data = await self._ask({"query": f"{{{selector}}}[{end - start}ms]", "time": f"{end / 1000:.3f}"})
        try:
            return await asyncio.to_thread(_series, data["result"], start)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise self._stranger() from error

    async def _ask(self, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            async with self._session.post(self._url, data=form, allow_redirects=False) as answer:
                body = await answer.content.read(_MOST_BYTES + 1)
                while 0 < len(body) <= _MOST_BYTES and (more := await answer.content.read(_MOST_BYTES + 1 - len(body))):
                    body += more
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or f"no answer within {_SECONDS:g} s"
            raise Unavailable(
                f"Prometheus at {self} cannot be reached: {said}.",
                reason="PROMETHEUS_UNAVAILABLE",
                fix="Check governator.metrics and that it runs; telemetry of nodes goes on, and it is asked again.",
            ) from error
        if len(body) > _MOST_BYTES:
            raise Exhausted(
                f"Prometheus at {self} answers more than {_MOST_BYTES} bytes.", reason="PROMETHEUS_ANSWER_TOO_LARGE"
            )
        try:
            told = await asyncio.to_thread(json.loads, body)
            if told["status"] == "success":
                return dict(told["data"])
        except (LookupError, TypeError, ValueError) as error:
            raise self._refusal(status, "") from error
        raise self._refusal(status, str(told.get("error", "")))

    def _refusal(self, status: int, said: str) -> InfernoError:
        if status in _UNAUTHENTICATED:
            return Unauthenticated(
                f"Prometheus at {self} refuses us with HTTP status {status}.",
                reason="PROMETHEUS_REFUSED",
                fix="Give a user and password: --metrics https://user:password@host.",
            )
        if not said:
            return self._stranger() if status < 500 else self._down(status, "it gives no reason")
        if status == _TOO_MUCH and "too many samples" in said:
            return Exhausted(f"Prometheus at {self}: {said}.", reason="PROMETHEUS_ANSWER_TOO_LARGE")
        if status == _BAD_QUESTION:
            return InvalidInput(
                f"Prometheus at {self} does not understand the question: {said}.",
                reason="PROMETHEUS_QUESTION",
                fix='Check governator.metrics_match: label matchers, such as job="vllm", zone=~"eu-.*".',
            )
        return self._down(status, said)

    def _down(self, status: int, said: str) -> Unavailable:
        return Unavailable(
            f"Prometheus at {self} cannot answer now (HTTP status {status}): {said}.",
            reason="PROMETHEUS_UNAVAILABLE",
            fix="See its log; it is asked again.",
        )

    def _stranger(self) -> InvalidInput:
        return InvalidInput(
            f"What answers at {self} is no Prometheus server.",
            reason="PROMETHEUS_STRANGER",
            fix="Name its HTTP address with --metrics, and the prefix of its URL where it has one.",
        )


def _url(address: str) -> SplitResult:
    if "://" not in address:
        parse_address(address, "metrics")
        return urlsplit(f"http://{address}")
    url = urlsplit(address)
    if url.scheme not in {"http", "https"} or not url.hostname:
        # It may hold a password anywhere: only its beginning is shown.
        raise InvalidInput(
            f"metrics {address.partition('://')[0] + '://...'!r} is no URL of a Prometheus server.",
            reason="BAD_ADDRESS",
            fix="Write it like prometheus:9090, or https://user:password@host/prefix.",
        )
    return url


def _series(result: list[dict[str, Any]], start: int) -> list[RawSeries]:
    found = []
    for one in result:
        labels = dict(one["metric"])
        # Whether a range holds its first moment depends on the server's version.
        samples = [(at, float(value)) for time, value in one["values"] if (at := round(time * 1000)) > start]
        if samples:
            found.append(RawSeries(labels.pop("__name__"), labels, samples))
    return found
