"""A mesh at the far side of a real connection: every service the command line calls, answering what a test says.

The servers are threaded: the command line brings an event loop of its own, and runs in the test's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from click.testing import CliRunner, Result
from grpc_status import rpc_status
from tritonclient.grpc import service_pb2 as inference
from tritonclient.grpc import service_pb2_grpc as inference_grpc

from inferno.governance.v1 import capacity_pb2, device_pb2, forecast_pb2, report_pb2, watch_pb2
from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.governance.v1 import governance_service_pb2_grpc as governance_grpc
from inferno.health.v1 import health_service_pb2 as health
from inferno.health.v1 import health_service_pb2_grpc as health_grpc
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_grpc
from inferno_cli.inference import tensors
from inferno_cli.main import command
from inferno_governator import item_wire
from inferno_governator.analysis.items import Item
from inferno_runtime import rpc
from inferno_runtime.errors import InfernoError, NotFound


@dataclass
class FakeMesh(
    mesh_grpc.MeshServiceServicer,
    health_grpc.HealthServiceServicer,
    governance_grpc.GovernanceServiceServicer,
    inference_grpc.GRPCInferenceServiceServicer,  # type: ignore[misc]  # untyped
):
    """Answers what its fields say; ``error`` is raised by every call instead, ``seen`` collects the requests."""

    endpoint: str = ""
    report: health.HealthReport = field(default_factory=health.HealthReport)
    nodes: Sequence[mesh.NodeView] = ()
    models: Sequence[mesh.ModelView] = ()
    clients: Sequence[mesh.ClientView] = ()
    bill: governance.GetCostReportResponse = field(default_factory=governance.GetCostReportResponse)
    explained: report_pb2.ExplainCostResponse = field(default_factory=report_pb2.ExplainCostResponse)
    items: Sequence[Item] = ()
    used: Sequence[device_pb2.DeviceUse] = ()
    error: InfernoError | None = None
    bill_error: InfernoError | None = None
    alerts: Sequence[watch_pb2.Alert] = ()
    watches: Sequence[watch_pb2.Watch] = ()
    budgets: governance.ListBudgetsResponse = field(default_factory=governance.ListBudgetsResponse)
    capacities: Sequence[capacity_pb2.CapacityReport] = ()
    devices: Sequence[capacity_pb2.DeviceFigure] = ()
    forecasts: Sequence[forecast_pb2.Forecast] = ()
    seen: list[Any] = field(default_factory=list)
    metadata: list[tuple[str, str]] = field(default_factory=list)
    stream_error: str = ""

    def _take(self, request: Any, context: grpc.ServicerContext, error: InfernoError | None = None) -> None:
        self.seen.append(request)
        self.metadata += [(str(key), str(value)) for key, value in context.invocation_metadata()]
        if error or self.error:
            context.abort_with_status(rpc_status.to_status(rpc.to_status(error or self.error)))  # type: ignore[arg-type]

    def GetHealth(self, request: health.GetHealthRequest, context: Any) -> health.GetHealthResponse:
        self._take(request, context)
        return health.GetHealthResponse(report=self.report)

    def ListNodes(self, request: mesh.ListNodesRequest, context: Any) -> mesh.ListNodesResponse:
        self._take(request, context)
        return mesh.ListNodesResponse(nodes=self.nodes)

    def ListModels(self, request: mesh.ListModelsRequest, context: Any) -> mesh.ListModelsResponse:
        self._take(request, context)
        return mesh.ListModelsResponse(models=self.models)

    def ListClients(self, request: mesh.ListClientsRequest, context: Any) -> mesh.ListClientsResponse:
        self._take(request, context)
        return mesh.ListClientsResponse(clients=self.clients)

    def GetCostReport(self, request: governance.GetCostReportRequest, context: Any) -> governance.GetCostReportResponse:
        self._take(request, context, self.bill_error)
        return self.bill

    def ExplainCost(self, request: report_pb2.ExplainCostRequest, context: Any) -> report_pb2.ExplainCostResponse:
        self._take(request, context, self.bill_error)
        return self.explained

    def ListCostItems(self, request: report_pb2.ListCostItemsRequest, context: Any) -> Iterator[Any]:
        self._take(request, context)
        for each in self.items[:10], self.items[10:]:
            yield item_wire.encode(each)
        if self.bill_error:
            self._take(request, context, self.bill_error)

    def ListDeviceUse(self, request: device_pb2.ListDeviceUseRequest, context: Any) -> Iterator[Any]:
        self._take(request, context, self.bill_error)
        for each in self.used:
            yield device_pb2.ListDeviceUseResponse(devices=[each])

    def ListAlerts(self, request: governance.ListAlertsRequest, context: Any) -> governance.ListAlertsResponse:
        self._take(request, context, self.bill_error)
        return governance.ListAlertsResponse(alerts=self.alerts)

    def ListWatches(self, request: governance.ListWatchesRequest, context: Any) -> governance.ListWatchesResponse:
        self._take(request, context, self.bill_error)
        return governance.ListWatchesResponse(watches=self.watches)

    def ListBudgets(self, request: governance.ListBudgetsRequest, context: Any) -> governance.ListBudgetsResponse:
        self._take(request, context, self.bill_error)
        return self.budgets

    def SetBudget(self, request: governance.SetBudgetRequest, context: Any) -> governance.SetBudgetResponse:
        self._take(request, context)
        return governance.SetBudgetResponse()

    def GetCapacity(self, request: governance.GetCapacityRequest, context: Any) -> governance.GetCapacityResponse:
        self._take(request, context, self.bill_error)
        return governance.GetCapacityResponse(reports=self.capacities, devices=self.devices)

    def ListForecasts(self, request: forecast_pb2.ListForecastsRequest, context: Any) -> Any:
        self._take(request, context, self.bill_error)
        return forecast_pb2.ListForecastsResponse(forecasts=self.forecasts)

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        error = None if request.name in SHAPES else NotFound(
            f"There is no model {request.name!r}.", reason="UNKNOWN_MODEL", fix=f"Models: {', '.join(sorted(SHAPES))}."
        )  # fmt: skip
        self._take(request, context, error)
        inputs, outputs, *_ = SHAPES[request.name]
        kind = inference.ModelMetadataResponse.TensorMetadata
        return inference.ModelMetadataResponse(
            name=request.name,
            inputs=[kind(name=name, datatype=datatype, shape=shape) for name, datatype, shape in inputs],
            outputs=[kind(name=name, datatype=datatype, shape=shape) for name, datatype, shape in outputs],
        )

    def ModelConfig(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        inputs, _, batch, decoupled = SHAPES[request.name]
        answer = inference.ModelConfigResponse()
        answer.config.max_batch_size = batch
        answer.config.model_transaction_policy.decoupled = decoupled
        for name, *_ in inputs:
            answer.config.input.add(name=name, optional=name == "times")
        return answer

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        return _answer(request, typed=request.model_version == "typed")

    def ModelStreamInfer(self, requests: Any, context: Any) -> Iterator[Any]:
        for request in requests:
            self._take(request, context)
            for index in range(3):
                if index == 2 and self.stream_error:
                    yield inference.ModelStreamInferResponse(error_message=self.stream_error)
                    return
                response = inference.ModelInferResponse(model_name=request.model_name)
                response.outputs.add(name="index", datatype="INT32", shape=[1])
                response.raw_output_contents.append(np.array([index], np.int32).tobytes())
                yield inference.ModelStreamInferResponse(infer_response=response)


Shape = tuple[str, str, list[int]]
SHAPES: dict[str, tuple[list[Shape], list[Shape], int, bool]] = {
    "filetype": ([("content", "BYTES", [-1, 1])], [("size", "INT64", [-1, 1])], 4, False),
    "double": ([("x", "FP32", [2]), ("times", "INT32", [1])], [("y", "FP32", [2])], 0, False),
    "repeat": ([("count", "INT32", [1])], [("index", "INT32", [1])], 0, True),
}


def _answer(request: Any, *, typed: bool) -> Any:
    """The size of each content, or each number doubled."""
    given = request.inputs[0]
    array = tensors.decode(given.name, given.datatype, given.shape, request.raw_input_contents[0]).array
    response = inference.ModelInferResponse(model_name=request.model_name, model_version="1")
    if given.datatype == "BYTES":
        sizes = np.array([[len(each)] for each in array.ravel()], np.int64)
        response.outputs.add(name="size", datatype="INT64", shape=sizes.shape)
        response.raw_output_contents.append(sizes.tobytes())
        return response
    output = response.outputs.add(name="y", datatype="FP32", shape=array.shape)
    if typed:
        output.contents.fp32_contents.extend((array * 2).tolist())
    else:
        response.raw_output_contents.append((array * 2).astype(np.float32).tobytes())
    return response


@pytest.fixture
def fake() -> Iterator[FakeMesh]:
    made = FakeMesh()
    server = grpc.server(ThreadPoolExecutor(4))
    mesh_grpc.add_MeshServiceServicer_to_server(made, server)
    health_grpc.add_HealthServiceServicer_to_server(made, server)
    governance_grpc.add_GovernanceServiceServicer_to_server(made, server)
    inference_grpc.add_GRPCInferenceServiceServicer_to_server(made, server)
    made.endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield made
    server.stop(0).wait()


Run = Callable[..., Result]


@pytest.fixture
def run(fake: FakeMesh) -> Run:
    """Call ``inferno`` with the fake mesh as its endpoint."""

    def call(*arguments: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(command, arguments, input=stdin, env={"INFERNO_ENDPOINT": fake.endpoint})

    return call
