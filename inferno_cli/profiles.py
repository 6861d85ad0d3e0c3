"""Profiles of a proxy, asked for through its public port."""

from __future__ import annotations

from inferno.profile.v1 import profile_service_pb2 as wire
from inferno.profile.v1 import profile_service_pb2_grpc as stubs
from inferno_cli import endpoint as public


async def record(endpoint: public.Endpoint, subject: str, seconds: float) -> bytes:
    """Record for so many seconds; ``subject`` is a name such as ``envoy-heap``.

    Raises:
        InfernoError: The caller may not, nobody answers, or nothing could be recorded.
    """
    request = wire.RecordRequest(subject=wire.Subject.Value(f"SUBJECT_{subject.replace('-', '_').upper()}"))
    request.duration.FromMilliseconds(round(seconds * 1000))
    async with public.connected(endpoint) as channel:
        call = stubs.ProfileServiceStub(channel).Record(request, timeout=seconds + 30)
        return b"".join([piece.chunk async for piece in call])
