"""ProfileService: profiles of a proxy that serves, for operators, each noted in the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from inferno.profile.v1 import profile_service_pb2 as wire
from inferno.profile.v1 import profile_service_pb2_grpc as stubs
from inferno_proxy.audit import AuditLog
from inferno_proxy.profiling.recorder import Recorder
from inferno_runtime.identity.caller import caller_of

_SECONDS = 10.0
_PIECE = 256 * 1024
Context = grpc.aio.ServicerContext[Any, Any]


class ProfileService(stubs.ProfileServiceServicer):
    """Records what is asked for; :class:`~inferno_proxy.services.guard.Guard` lets operators alone come here."""

    def __init__(self, recorder: Recorder, audit: AuditLog) -> None:
        self._recorder = recorder
        self._audit = audit

    async def Record(self, request: wire.RecordRequest, context: Context) -> AsyncIterator[wire.RecordResponse]:
        """The profile, in pieces that fit into messages."""
        seconds = request.duration.ToTimedelta().total_seconds() if request.HasField("duration") else _SECONDS
        subject = wire.Subject.Name(request.subject).removeprefix("SUBJECT_").lower().replace("_", "-")
        self._audit.write(caller_of(context), "PROFILE", subject, f"{seconds:g} s")
        if request.subject == wire.SUBJECT_ENVOY_HEAP:
            profile = await self._recorder.envoy_heap()
        elif request.subject == wire.SUBJECT_ENVOY_ALLOCATIONS:
            profile = await self._recorder.envoy_allocations(seconds)
        else:
            profile = await self._recorder.control_plane(seconds)
        for start in range(0, len(profile), _PIECE):
            yield wire.RecordResponse(chunk=profile[start : start + _PIECE])
