"""Calls that show whether an Envoy serves with its configuration: any answer in time will do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc

from inferno_proxy.resources.names import MODEL_HEADER, header_value, path_segment
from inferno_runtime import rpc

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_AT_A_TIME = 32
# A name no model has: the answer is that there is no such model.
_NOBODY = "inferno canary: no such model"


@dataclass(frozen=True, slots=True)
class Probe:
    """One call. With a ``body`` it is gRPC at ``path``, with ``model`` in the model header unless that is empty;
    without it is REST."""

    what: str
    path: str
    model: str = ""
    body: bytes | None = None


def probes(models: Iterable[str]) -> tuple[Probe, ...]:
    """A probe of each kind: for every model gRPC by header, gRPC by message and REST, and a model that nobody has."""
    found = [each for model in models for each in _of(model)]
    return (*found, Probe("a model that does not exist, named in the message", _INFER, body=_request(_NOBODY)))


def _of(model: str) -> Sequence[Probe]:
    return (
        Probe(f"model {model!r}, named in the header", _INFER, header_value(model), _request(model)),
        Probe(f"model {model!r}, named in the message", _INFER, body=_request(model)),
        Probe(f"model {model!r} over REST", f"/v2/models/{path_segment(model)}/infer"),
    )


def _request(model: str) -> bytes:
    """A ``ModelInferRequest`` that names its model and nothing else (field 1); names are at most a few kB."""
    raw = model.encode()
    size = len(raw)
    length = bytes((size,)) if size < 0x80 else bytes((size & 0x7F | 0x80, size >> 7))
    return b"\x0a" + length + raw


async def unanswered(port: int, wanted: Sequence[Probe], within: float) -> str:
    """Call an Envoy on this machine; the first call without an answer within so many seconds, in a clause, or empty."""
    room, silent = asyncio.Semaphore(_AT_A_TIME), list[Probe]()
    async with (
        rpc.channel(f"127.0.0.1:{port}") as channel,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=aiohttp.ClientTimeout(within)) as session,
    ):

        async def call(probe: Probe) -> None:
            async with room:
                # One is enough; the others need not wait for answers that do not come.
                if not silent and not await (
                    _rest(session, probe) if probe.body is None else _grpc(channel, probe, within)
                ):
                    silent.append(probe)

        await asyncio.gather(*map(call, wanted))
    return f"Envoy does not answer a call with it ({silent[0].what})" if silent else ""


async def _grpc(channel: grpc.aio.Channel, probe: Probe, within: float) -> bool:
    method: Any = channel.unary_unary(probe.path)
    call = method(probe.body, timeout=within, metadata=((MODEL_HEADER, probe.model),) if probe.model else None)
    # Whatever the status: only an answer that came over the wire has metadata, a status of our own side has none.
    return bool(await call.initial_metadata()) or bool(await call.trailing_metadata())


async def _rest(session: aiohttp.ClientSession, probe: Probe) -> bool:
    try:
        async with session.post(probe.path, data=b"{}") as answer:
            await answer.read()
    except (aiohttp.ClientError, TimeoutError):
        return False
    return True
