"""Where a Triton that somebody else runs answers."""

from __future__ import annotations

from dataclasses import dataclass

from inferno_backend.node import Endpoints
from inferno_backend.triton import metrics_page
from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import InfernoError

_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Usual:
    """Triton's ports unless it is told otherwise."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002


_USUAL = Usual()


async def endpoints(grpc: str, http: str = "", metrics: str = "", usual: Usual = _USUAL) -> Endpoints:
    """Take what is given; for the rest, when the gRPC port is the usual one, the other usual ports if they answer.

    Another port says nothing of its neighbours: those may belong to another Triton.
    """
    host, port = parse_address(grpc)
    host = f"[{host}]" if ":" in host else host
    if port == usual.grpc:
        http = http or await _answering(f"{host}:{usual.http}", "/v2/health/live")
        metrics = metrics or await _answering(f"{host}:{usual.metrics}", "/metrics")
    return Endpoints(grpc, http, metrics)


async def _answering(address: str, path: str) -> str:
    try:
        await metrics_page.fetch(address, _SECONDS, path)
    except InfernoError:
        return ""
    return address
