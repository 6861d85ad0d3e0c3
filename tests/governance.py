"""A governator that a test writes down."""

from __future__ import annotations

from typing import Any

from inferno.governance.v1 import governance_service_pb2_grpc

_SERVICER: Any = governance_service_pb2_grpc.GovernanceServiceServicer


# The typed servicer is abstract: every stand-in would have to name every call, and most answer one or two.
class StandIn(_SERVICER):  # type: ignore[misc]
    """Answers the calls that a test defines; any other is unimplemented."""
