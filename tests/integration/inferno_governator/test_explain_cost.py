"""Costs explained over gRPC, from what nodes sent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferno.governance.v1 import device_pb2, governance_service_pb2_grpc, report_pb2
from inferno.governance.v1.telemetry_pb2 import NodeFacts
from inferno_governator.analysis.breakdown import Dimension
from inferno_governator.cost_wire import encode_dimensions
from inferno_governator.item_wire import decode
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import InfernoError, InvalidInput
from inferno_runtime.rpc import error_from_rpc
from tests.integration.inferno_governator.governators import governator
from tests.integration.inferno_governator.nodes import FACTS, Client, batch

CHEAPER = NodeFacts(price_micros_per_hour=1_800_000, region="eu-1", device="cpu")


async def explain(client: Client, **asked: Any) -> report_pb2.ExplainCostResponse:
    make: Any = governance_service_pb2_grpc.GovernanceServiceStub
    try:
        answer = await make(client.channel).ExplainCost(report_pb2.ExplainCostRequest(**asked), timeout=60)
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error, "the governator") from error
    assert isinstance(answer, report_pb2.ExplainCostResponse)
    return answer


async def two_hours(client: Client) -> float:
    """Ten seconds of two nodes an hour ago and ten now, at half the price; returns when the second hour begins."""
    now = (int(time.time()) // 3600 - 2) * 3600
    for node in ("node-1", "node-2"):
        await client.store(batch(n, node, at=now - 3600 + n, facts=FACTS if n == 1 else None) for n in range(1, 11))
        await client.store(batch(10 + n, node, at=now + n, facts=CHEAPER if n == 1 else None) for n in range(1, 11))
    return now


def period(start: float, seconds: float) -> report_pb2.CostPeriod:
    made = report_pb2.CostPeriod()
    made.start.FromSeconds(int(start))
    made.end.FromSeconds(int(start + seconds))
    return made


async def test_a_bill_is_grouped_and_its_change_explained(database_url: str, socket_dir: Path) -> None:
    async with governator(database_url, socket_dir) as client:
        now = await two_hours(client)
        answer = await explain(
            client,
            period=period(now, 3600),
            group_by=encode_dimensions([Dimension.NODE, Dimension.MODEL]),
            compare=report_pb2.CostPeriod(name="previous"),
            timeline=True,
        )
    lines = {tuple(line.values): line for line in answer.lines}
    work = lines["node-1", "m"]
    # Ten seconds at 500 micro-dollars a second, half of them computed; an hour before at 1,000.
    assert (work.sums.cost_micros, work.before_micros) == (2_500, 5_000)
    assert (work.sums.requests, work.sums.nanos_per_request) == (10, 250_000)
    assert lines["node-1", ""].purpose == report_pb2.COST_PURPOSE_IDLE
    assert answer.total.cost_micros == sum(line.sums.cost_micros for line in answer.lines) == answer.bill_micros
    change = answer.change
    assert (change.before_micros, change.after_micros) == (20_000, 10_000)
    assert change.price_micros == -10_000
    assert (change.price_ratio, change.demand_ratio, change.utilization_after) == (0.5, 1.0, 0.5)
    others = (change.demand_micros, change.idle_micros, change.effort_micros, change.models_micros, change.nodes_micros)
    assert others == (0, 0, 0, 0, 0)
    assert sum(bucket.cost_micros for bucket in answer.timeline.buckets) == 10_000
    assert answer.compared_with == period(now - 3600, 3600)


async def test_filters_fold_and_hours(sqlite_url: str, socket_dir: Path) -> None:
    async with governator(sqlite_url, socket_dir) as client:
        now = await two_hours(client)
        by_hour = await explain(
            client,
            period=period(now - 3600, 7200),
            group_by=encode_dimensions([Dimension.HOUR]),
            filters=[report_pb2.CostFilter(dimension=report_pb2.COST_DIMENSION_NODE, values=["node-2"])],
        )
        folded = await explain(
            client, period=period(now, 3600), group_by=encode_dimensions([Dimension.NODE]), line_limit=1
        )
    assert [line.sums.cost_micros for line in by_hour.lines] == [10_000, 5_000]
    assert (by_hour.total.cost_micros, by_hour.bill_micros) == (15_000, 30_000)
    assert [(list(line.values), line.others, line.sums.cost_micros) for line in folded.lines] == [
        (["node-1"], 0, 5_000), ([], 1, 5_000),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"period": report_pb2.CostPeriod(name="soon")}, "'soon' is no period"),
        ({"period": report_pb2.CostPeriod(name="today"), "compare": report_pb2.CostPeriod(name="never")}, "'never'"),
        ({"group_by": [99]}, "99 is no dimension"),
        ({"group_by": [1, 1]}, "there twice"),
        ({"group_by": [12], "period": report_pb2.CostPeriod(name="60d")}, "grouped by hour"),
        ({"filters": [report_pb2.CostFilter()]}, "0 is no dimension"),
    ],
)
async def test_what_cannot_be_answered_is_refused(
    sqlite_url: str, socket_dir: Path, asked: dict[str, Any], says: str
) -> None:
    async with governator(sqlite_url, socket_dir) as client:
        with pytest.raises(InvalidInput, match=says) as caught:
            await explain(client, **asked)
    assert caught.value.fix


async def test_a_name_and_ends_contradict_each_other(sqlite_url: str, socket_dir: Path) -> None:
    both = period(0, 60)
    both.name = "today"
    async with governator(sqlite_url, socket_dir, clock=ManualClock()) as client:
        with pytest.raises(InfernoError, match="a name and ends"):
            await explain(client, period=both)


async def test_what_a_bill_is_made_of_is_listed(database_url: str, socket_dir: Path) -> None:
    make: Any = governance_service_pb2_grpc.GovernanceServiceStub
    async with governator(database_url, socket_dir) as client:
        now = await two_hours(client)
        asked = report_pb2.ListCostItemsRequest(
            period=period(now - 3600, 7200),
            filters=[report_pb2.CostFilter(dimension=report_pb2.COST_DIMENSION_NODE, values=["node-1"])],
            hourly=True,
        )
        items = [item async for piece in make(client.channel).ListCostItems(asked) for item in decode(piece)]
    assert sum(each.cost_micros for each in items) == 15_000
    assert {each.node for each in items} == {"node-1"}
    assert {(each.purpose.value, each.model, each.version) for each in items} == {("work", "m", "1"), ("idle", "", "")}
    assert {each.facts.price for each in items} == {3_600_000, 1_800_000}
    assert all(each.minutes <= 60 for each in items)
    assert sum(each.requests for each in items) == 20


async def devices(client: Client, **asked: Any) -> list[device_pb2.DeviceUse]:
    make: Any = governance_service_pb2_grpc.GovernanceServiceStub
    try:
        call = make(client.channel).ListDeviceUse(device_pb2.ListDeviceUseRequest(**asked), timeout=20)
        return [each async for piece in call for each in piece.devices]
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error, "the governator") from error


async def test_the_use_of_devices_is_told_by_minute_and_as_a_whole(sqlite_url: str, socket_dir: Path) -> None:
    async with governator(sqlite_url, socket_dir) as client:
        now = await two_hours(client)
        [one] = await devices(client, period=period(now - 3600, 7200), node_id="node-2")
        minutes = await devices(client, period=period(now, 120), step=device_pb2.DEVICE_STEP_MINUTE)
        with pytest.raises(InvalidInput, match="at once"):
            await devices(client, period=period(now - 200_000, 200_000), step=device_pb2.DEVICE_STEP_MINUTE)
        with pytest.raises(InvalidInput, match="9 is no step"):
            await devices(client, period=period(now, 60), step=9)
    assert (one.node_id, one.device_id, one.kind, one.minutes) == ("node-2", "cpu", "cpu", 120)
    assert (one.measured_seconds, one.utilization, one.memory_total_bytes) == (20, 0.5, 2)
    assert not one.HasField("mean_power_watts")
    assert [(each.start.seconds, each.node_id) for each in minutes] == [(now, "node-1"), (now, "node-2")]
