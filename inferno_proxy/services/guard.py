"""What each service of the control plane asks of its callers: one table, so that none is forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

import grpc

from inferno_proxy.identity.gate import Gate
from inferno_runtime.errors import InfernoError
from inferno_runtime.identity.caller import caller_from
from inferno_runtime.identity.permission import Action

# By gRPC service, or by method where one differs. None: the service asks for itself, since what it asks depends on the
# method or on the message.
SERVICES: Mapping[str, Action | None] = MappingProxyType(
    {
        "inference.GRPCInferenceService": Action.INFER,
        # A model is code: who loads it runs it.
        "inference.GRPCInferenceService/RepositoryModelLoad": Action.OPERATE,
        "inference.GRPCInferenceService/RepositoryModelUnload": Action.OPERATE,
        # A probe has no credentials, and learns one bit.
        "inference.GRPCInferenceService/ServerLive": None,
        "inference.GRPCInferenceService/ServerReady": None,
        "grpc.health.v1.Health": None,
        "inferno.health.v1.HealthService": Action.INFER,
        "grpc.reflection.v1alpha.ServerReflection": Action.INFER,
        "grpc.reflection.v1.ServerReflection": Action.INFER,
        "inferno.identity.v1.IdentityService": Action.OPERATE,
        "inferno.identity.v1.IdentityService/Join": Action.JOIN,
        "inferno.identity.v1.IdentityService/Renew": Action.RENEW,
        "inferno.mesh.v1.MeshService": None,
        "inferno.profile.v1.ProfileService": Action.OPERATE,
        "inferno.registration.v1.RegistrationService": None,
        "envoy.service.discovery.v3.AggregatedDiscoveryService": None,
        "envoy.service.load_stats.v3.LoadReportingService": None,
        "envoy.service.accesslog.v3.AccessLogService": None,
    }
)
# By the beginning of an HTTP path; the longest counts, and what has none here is the operator's.
_PATHS: Mapping[str, Action | None] = MappingProxyType(
    {
        # Probes again.
        "/v2/health": None,
        "/healthz": None,
        "/readyz": None,
        # Who has no certificate yet asks for the CA.
        "/identity/authority": None,
        "/register": None,
        "/mesh": None,
        "/v2": Action.INFER,
        "/v2/repository/models": Action.OPERATE,
        "/metrics": Action.READ,
    }
)


class Guard(grpc.aio.ServerInterceptor):
    """Refuses calls before their handlers; a service that is not in the table is for operators."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method's own handler, or one that refuses."""
        details = cast("Any", handler_call_details)
        method = str(details.method).strip("/")
        action = SERVICES.get(method, SERVICES.get(method.rpartition("/")[0], Action.OPERATE))
        if action is not None:
            headers = {key: value for key, value in details.invocation_metadata if isinstance(value, str)}
            try:
                self._gate.admit(caller_from(headers), action)
            except InfernoError as error:
                return _refusing(error)
        return await continuation(handler_call_details)


def action_of(path: str) -> Action | None:
    """What an HTTP path asks of its caller; None when its handler asks.

    >>> action_of("/v2/models/m/infer"), action_of("/healthz"), action_of("/v2x")
    (<Action.INFER: 'ask about models'>, None, <Action.OPERATE: 'operate the mesh'>)
    """
    known = max((each for each in _PATHS if path == each or path.startswith(f"{each}/")), key=len, default="")
    return _PATHS.get(known, Action.OPERATE)


def _refusing(error: InfernoError) -> grpc.RpcMethodHandler[Any, Any]:
    # A handler of streams may stand for one of any kind: it need not read nor write.
    async def refuse(_: AsyncIterator[bytes], __: grpc.aio.ServicerContext[Any, Any]) -> None:
        raise error

    return grpc.stream_stream_rpc_method_handler(cast("Any", refuse))
