"""What models can do, on both databases: on disk when it is answered, once, the newest of each thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.capacity_pb2 import CapacityReport, CapacityStep, DeviceFigure
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno_runtime.errors import Denied, InfernoError, InvalidInput
from inferno_runtime.identity.caller import CERTIFICATE, DOOR
from inferno_runtime.rpc import error_from_rpc
from tests.integration.inferno_governator.governators import governator

AT = 1_760_000_000


def report(
    node: str = "a", at: int = AT, *, model: str = "m", configuration: str = "c", complete: bool = True, steps: int = 1
) -> CapacityReport:
    made = [
        CapacityStep(batch=1, concurrency=1 << n, requests=9, requests_per_second=at - AT + n) for n in range(steps)
    ]
    return CapacityReport(
        node_id=node,
        measured_at=Timestamp(seconds=at),
        hardware="h",
        hardware_name="8 × EPYC",
        model=model,
        files="f",
        configuration=configuration,
        complete=complete,
        steps=made,
    )


def figure(node: str = "a", at: int = AT, *, device: str = "GPU-1", value: float = 1.0) -> DeviceFigure:
    return DeviceFigure(
        node_id=node,
        measured_at=Timestamp(seconds=at),
        hardware="h",
        device_id=device,
        device_name="NVIDIA L4",
        figure="memory",
        value=value,
        unit="GB/s",
        library="torch 2",
    )


class Client:
    """Sends reports and asks for them."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = GovernanceServiceStub(channel)

    async def send(self, *reports: CapacityReport, headers: Sequence[tuple[str, str]] = ()) -> None:
        request = wire.ReportCapacityRequest(reports=reports)
        try:
            await self._stub.ReportCapacity(request, timeout=60, metadata=headers)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error, "the governator") from error

    async def send_figures(self, *figures: DeviceFigure, headers: Sequence[tuple[str, str]] = ()) -> None:
        request = wire.ReportCapacityRequest(devices=figures)
        try:
            await self._stub.ReportCapacity(request, timeout=60, metadata=headers)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error, "the governator") from error

    async def figures(self, node: str = "", model: str = "") -> list[DeviceFigure]:
        answer = await self._stub.GetCapacity(wire.GetCapacityRequest(node_id=node, model=model), timeout=60)
        return list(answer.devices)

    async def found(self, node: str = "", model: str = "") -> list[CapacityReport]:
        answer = await self._stub.GetCapacity(wire.GetCapacityRequest(node_id=node, model=model), timeout=60)
        return list(answer.reports)


async def test_reports_survive_the_governator_and_the_newest_of_each_thing_is_told(
    database_url: str, socket_dir: Path
) -> None:
    kept = [
        report("a", AT + 1, steps=3),
        report("a", AT, configuration="d"),
        report("a", AT, model="other"),
        report("b", AT + 5),
    ]
    async with governator(database_url, socket_dir) as running:
        client = Client(running.channel)
        await client.send(report("a", AT), *kept)
    async with governator(database_url, socket_dir) as running:
        client = Client(running.channel)
        assert await client.found() == [kept[1], kept[0], kept[2], kept[3]]
        assert await client.found(node="b") == [kept[3]]
        assert await client.found(model="other") == [kept[2]]
        assert await client.found(node="nobody") == []
        # One that comes again says more; an interrupted one does not hide a complete one.
        again = report("b", AT + 5, steps=4)
        await client.send(again, report("b", AT + 9, complete=False))
        assert await client.found(node="b") == [again]
        # Of each thing a few are kept, the newest.
        await client.send(*(report("c", AT + n) for n in range(30)))
        await client.send(report("c", AT + 2))
        assert await client.found(node="c") == [report("c", AT + 29)]
        await client.send_figures(figure("b"), figure("b", AT + 1, value=2), figure("a", device="cpu"), figure("a"))
        assert await client.figures() == [figure("a"), figure("a", device="cpu"), figure("b", AT + 1, value=2)]
        assert await client.figures(node="b") == [figure("b", AT + 1, value=2)]
        assert await client.figures(model="m") == []
        await client.send_figures(*(figure("b", AT + n, value=3) for n in range(30)))
        assert await client.figures(node="b") == [figure("b", AT + 29, value=3)]


async def test_a_node_reports_for_itself_only_and_one_bad_report_keeps_all_out(
    sqlite_url: str, socket_dir: Path
) -> None:
    me = ((DOOR, "mesh"), (CERTIFICATE, "Hash=00;URI=spiffe://inferno/node/a"))
    async with governator(sqlite_url, socket_dir) as running:
        client = Client(running.channel)
        refusals: list[tuple[CapacityReport, type[InfernoError]]] = [
            (report("b"), Denied),
            (report("a", model=""), InvalidInput),
        ]
        for wrong, kind in refusals:
            with pytest.raises(kind):
                await client.send(report("a"), wrong, headers=me)
        with pytest.raises(Denied):
            await client.send_figures(figure("a"), figure("b"), headers=me)
        assert await client.found() == []
        assert await client.figures() == []
        await client.send(report("a"), headers=me)
        await client.send(headers=me)
        assert await client.found() == [report("a")]
