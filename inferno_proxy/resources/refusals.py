"""What a refusal tells a gRPC client besides its sentence: why, and when to come again (google.rpc.Status, AIP-193)."""

from __future__ import annotations

import base64

from inferno_runtime import rpc
from inferno_runtime.errors import Exhausted

DETAILS_HEADER = "grpc-status-details-bin"


def refusal_details(sentence: str, reason: str, seconds: float) -> str:
    """The value of :data:`DETAILS_HEADER` for RESOURCE_EXHAUSTED: ErrorInfo with ``reason``, RetryInfo with
    ``seconds``. Clients take it only when ``sentence`` is the call's own message, to the letter."""
    status = rpc.to_status(Exhausted(sentence, reason=reason, retry_after=seconds))
    return base64.b64encode(status.SerializeToString(deterministic=True)).decode()
