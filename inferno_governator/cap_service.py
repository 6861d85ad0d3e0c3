"""The call of GovernanceService about caps. It translates and holds no judgement."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import cap_pb2
from inferno_governator.caps import Cap, Caps
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action, permit

_LONGEST_REASON = 200

Context = grpc.aio.ServicerContext[Any, Any]


class CapService:
    """Part of the servicer."""

    _caps: Caps

    async def WatchCaps(
        self, request: cap_pb2.WatchCapsRequest, context: Context
    ) -> AsyncIterator[cap_pb2.WatchCapsResponse]:
        """Tell a proxy whose requests to refuse."""
        permit(caller_of(context), Action.READ)
        async for caps in self._caps.watch():
            yield cap_pb2.WatchCapsResponse(caps=map(encode, caps))


def encode(cap: Cap) -> cap_pb2.Cap:
    """A cap on the wire."""
    reason = cap.reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
    return cap_pb2.Cap(team=cap.team, key=cap.key, model=cap.model, until=Timestamp(seconds=cap.until), reason=reason)
