"""What a refusal tells a gRPC client besides its sentence: why, and when to come again (google.rpc.Status, AIP-193)."""

from __future__ import annotations

import base64

from envoy_data_plane.envoy.config.core.v3 import (
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
)

from inferno_runtime import rpc
from inferno_runtime.errors import Exhausted

DETAILS_HEADER = "grpc-status-details-bin"


def refusal_details(sentence: str, reason: str, seconds: float) -> str:
    """The value of :data:`DETAILS_HEADER` for RESOURCE_EXHAUSTED: ErrorInfo with ``reason``, RetryInfo with
    ``seconds``. Clients take it only when ``sentence`` is the call's own message, to the letter."""
    status = rpc.to_status(Exhausted(sentence, reason=reason, retry_after=seconds))
    return base64.b64encode(status.SerializeToString(deterministic=True)).decode()


def safe_for_browsers() -> list[HeaderValueOption]:
    """An answer over REST is taken for what it says it is, and kept by no cache on the way."""
    return [
        HeaderValueOption(
            header=HeaderValue(key=key, value=value),
            append_action=HeaderValueOptionHeaderAppendAction.ADD_IF_ABSENT,
        )
        for key, value in (("x-content-type-options", "nosniff"), ("cache-control", "no-store"))
    ]


def grpc_status(code: int) -> HeaderValueOption:
    """Has Envoy's own answer end with a gRPC status that its HTTP status would not give."""
    return HeaderValueOption(
        header=HeaderValue(key="grpc-status", value=str(code)),
        append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )
