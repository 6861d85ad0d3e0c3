"""The control plane's gRPC server: every service, and reflection for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer
from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno.governance.v1 import governance_service_pb2
from inferno.health.v1 import health_service_pb2, health_service_pb2_grpc
from inferno.identity.v1 import identity_service_pb2, identity_service_pb2_grpc
from inferno.mesh.v1 import mesh_service_pb2, mesh_service_pb2_grpc
from inferno.profile.v1 import profile_service_pb2, profile_service_pb2_grpc
from inferno.registration.v1 import registration_service_pb2, registration_service_pb2_grpc
from inferno_proxy.discovery.registration_service import RegistrationService
from inferno_proxy.identity.gate import Gate
from inferno_proxy.identity.identity_service import IdentityService
from inferno_proxy.reports.reporting_service import ReportingService
from inferno_proxy.services.guard import Guard
from inferno_proxy.services.health_service import GrpcHealth, HealthService
from inferno_proxy.services.inference_service import InferenceService
from inferno_proxy.services.mesh_service import MeshService
from inferno_proxy.services.profile_service import ProfileService
from inferno_proxy.xds.ads_service import AdsService
from inferno_runtime import rpc

_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"


@dataclass(frozen=True, slots=True)
class ControlServices:
    """What the server serves. ``governed``: the data plane also routes governance calls, so they are described too."""

    ads: AdsService
    reporting: ReportingService
    registration: RegistrationService
    health: HealthService
    grpc_health: GrpcHealth
    identity: IdentityService
    mesh: MeshService
    inference: InferenceService
    profile: ProfileService
    governed: bool = False


def grpc_server(services: ControlServices, gate: Gate) -> grpc.aio.Server:
    """A server with everything registered behind a gate, not started yet."""
    server = rpc.server(interceptors=[Guard(gate)])
    services.ads.register(server)
    services.reporting.register(server)
    registration_service_pb2_grpc.add_RegistrationServiceServicer_to_server(services.registration, server)
    health_service_pb2_grpc.add_HealthServiceServicer_to_server(services.health, server)
    identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(services.identity, server)
    mesh_service_pb2_grpc.add_MeshServiceServicer_to_server(services.mesh, server)
    profile_service_pb2_grpc.add_ProfileServiceServicer_to_server(services.profile, server)
    health_pb2_grpc.add_HealthServicer_to_server(services.grpc_health, server)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(services.inference, server)
    files: list[Any] = [
        registration_service_pb2,
        health_service_pb2,
        identity_service_pb2,
        mesh_service_pb2,
        profile_service_pb2,
        health_pb2,
        service_pb2,
        reflection_pb2,
    ]
    if services.governed:
        files.append(governance_service_pb2)
    names = [service.full_name for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    _reflect(server, names)
    return server


def _reflect(server: grpc.aio.Server, names: list[str]) -> None:
    """Reflection under its old and its new name: the messages are the same, and clients ask for either."""
    servicer = ReflectionServicer(names)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers = {"ServerReflectionInfo": method}
    for name in (reflection.SERVICE_NAME, _REFLECTION_V1):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
