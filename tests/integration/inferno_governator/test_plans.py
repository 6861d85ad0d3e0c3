"""Plans over the wire: of the mesh as it is, of a question of one's own, compared, and for growth."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.capacity_pb2 import CapacityReport, CapacityStep
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno.governance.v1.plan_pb2 import (
    PlanChoice,
    PlanCurve,
    PlanGrowth,
    PlanModel,
    PlanOffer,
    PlanPoint,
    PlanQuestion,
    PlanSize,
)
from inferno_governator.watch.settings import ObjectiveSettings
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import InfernoError, InvalidInput, Unauthenticated
from inferno_runtime.identity.caller import CERTIFICATE, DOOR
from inferno_runtime.rpc import error_from_rpc
from tests.integration.inferno_governator.governators import StoppableClient, governator
from tests.integration.inferno_governator.nodes import FACTS, batch

OFFER = PlanOffer(cloud="own", region="r", instance_type="box", gpu="L4", micros_per_hour=1_000_000)
CURVE = PlanCurve(gpu="l4", requests_per_second=2.0)
# A choice that nothing of the price list fits.
NONE = PlanChoice(clouds=["none"])


def question(rate: float = 5.0, **more: Any) -> PlanQuestion:
    given: dict[str, Any] = {"offers": [OFFER], "curves": [CURVE], "choice": NONE, **more}
    return PlanQuestion(models=[PlanModel(model="m", requests_per_second=rate)], **given)


class Plans:
    """The calls about plans."""

    def __init__(self, client: StoppableClient) -> None:
        self._stub: Any = GovernanceServiceStub(client.channel)

    async def plan(self, asked: PlanQuestion, **more: Any) -> wire.PlanResponse:
        answer: wire.PlanResponse = await self._ask(
            self._stub.Plan(wire.PlanRequest(question=asked), timeout=60, **more)
        )
        return answer

    async def compare(self, asked: PlanQuestion) -> wire.ComparePlansResponse:
        request = wire.ComparePlansRequest(question=asked)
        answer: wire.ComparePlansResponse = await self._ask(self._stub.ComparePlans(request, timeout=60))
        return answer

    async def grow(self, asked: PlanQuestion, growth: PlanGrowth) -> wire.PlanCapacityResponse:
        request = wire.PlanCapacityRequest(question=asked, growth=growth)
        answer: wire.PlanCapacityResponse = await self._ask(self._stub.PlanCapacity(request, timeout=60))
        return answer

    async def refusal(self, call: Any) -> InfernoError:
        with pytest.raises(InfernoError) as refused:
            await call
        return refused.value

    async def _ask(self, call: Any) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error, "the governator") from error


async def test_without_a_question_the_mesh_is_planned_for_as_it_was_in_the_last_hour(
    database_url: str, socket_dir: Path
) -> None:
    clock = ManualClock()
    objectives = {"m": ObjectiveSettings(latency_ms=20)}
    async with governator(database_url, socket_dir, clock=clock, objectives=objectives) as client:
        plans = Plans(client)
        empty = PlanQuestion(choice=NONE)
        assert (await plans.refusal(plans.plan(empty))).reason == "NO_DEMAND"
        # 2,400 requests in ten minutes are 4 a second.
        start = clock.wall() // 600 * 600 - 600
        await client.store([batch(1, at=start + 90, requests=2400, facts=FACTS), batch(2, at=clock.wall())])
        error = await plans.refusal(plans.plan(empty))
        assert (error.reason, "nobody has measured" in error.message) == ("NO_PLAN", True)
        steps = [
            CapacityStep(batch=1, concurrency=1, requests=9, requests_per_second=1.5, p99_micros=15_000),
            CapacityStep(batch=1, concurrency=2, requests=9, requests_per_second=9.0, p99_micros=25_000),
        ]
        report = CapacityReport(
            node_id="node-1",
            measured_at=Timestamp(seconds=int(start)),
            hardware="h",
            hardware_name="h",
            model="m",
            configuration="c",
            complete=True,
            steps=steps,
        )
        stub: Any = GovernanceServiceStub(client.channel)
        await stub.ReportCapacity(wire.ReportCapacityRequest(reports=[report]), timeout=20)
        found = (await plans.plan(empty)).plan
        (nodes,) = found.nodes
        # 1.5 a second within 20 ms: three nodes at the 3.60 dollars that one costs.
        assert (nodes.count, nodes.offer.instance_type, nodes.offer.region) == (3, "cpu", "eu-1")
        assert (found.micros_per_hour, found.bound_micros_per_hour, found.within_gap) == (10_800_000, 10_800_000, True)
        (share,) = nodes.shares
        assert (share.model, share.replicas, round(share.share, 6)) == ("m", 3, 1.0)


async def test_a_question_of_ones_own_is_answered_at_prices_that_may_be_acted_on(
    sqlite_url: str, socket_dir: Path
) -> None:
    # A day on which the bundled prices are two days old, and one on which they are too old.
    clock = ManualClock(wall=1_784_700_000.0)
    async with governator(sqlite_url, socket_dir, clock=clock) as client:
        plans = Plans(client)
        aws = PlanChoice(clouds=["AWS"], gpus=["l4", "t4"])
        asked = question(choice=aws, offers=[])
        fresh = (await plans.plan(asked)).plan
        assert fresh.nodes[0].offer.cloud == "aws"
        assert fresh.oldest_price == "2026-07-20"
        assert fresh.bound_micros_per_hour <= fresh.micros_per_hour
        clock.jump_wall(100 * 86_400)
        assert (await plans.refusal(plans.plan(asked))).reason == "STALE_PRICES"
        asked.any_age = True
        assert (await plans.plan(asked)).plan.micros_per_hour == fresh.micros_per_hour
        noted = (await plans.plan(question(choice=aws))).plan
        assert ("are left out" in noted.notes[0], noted.oldest_price) == (True, "")


async def test_what_cannot_be_planned_is_refused_with_the_constraint_that_binds(
    sqlite_url: str, socket_dir: Path
) -> None:
    async with governator(sqlite_url, socket_dir, clock=ManualClock()) as client:
        plans = Plans(client)
        assert (await plans.plan(question())).plan.micros_per_hour == 3_000_000
        error = await plans.refusal(plans.plan(question(budget_micros_per_hour=2_000_000)))
        assert isinstance(error, InvalidInput)
        assert "the budget ($2.00 an hour; without it the plan costs $3.00 an hour)" in error.message
        sized = question(
            curves=[PlanCurve(gpu="L4", points=[PlanPoint(input_tokens=9, output_tokens=9, requests_per_second=1)])]
        )
        sized.models[0].sizes.append(PlanSize(input_tokens=10, output_tokens=1))
        assert "larger than any that was measured" in (await plans.refusal(plans.plan(sized))).message
        for bad in (
            PlanQuestion(models=[PlanModel()]),
            question(offers=[PlanOffer()]),
            question(curves=[PlanCurve(gpu="L4")]),
            question(seconds=31),
            question(gap=float("nan")),
            question(surviving_share=2),
            question(rate=float("inf")),
        ):
            assert (await plans.refusal(plans.plan(bad))).reason == "BAD_QUESTION"
        stranger = ((DOOR, "mesh"), (CERTIFICATE, ""))
        assert isinstance(await plans.refusal(plans.plan(question(), metadata=stranger)), Unauthenticated)


async def test_fleets_are_compared_and_growth_is_told_month_by_month(sqlite_url: str, socket_dir: Path) -> None:
    async with governator(sqlite_url, socket_dir, clock=ManualClock()) as client:
        plans = Plans(client)
        spot = PlanOffer(cloud="aws", region="r", instance_type="b", gpu="L4", spot=True, micros_per_hour=400_000)
        rows = (await plans.compare(question(offers=[OFFER, spot]))).rows
        assert [(row.choice, row.spot, row.plan.micros_per_hour) for row in rows] == [
            ("aws", True, 1_200_000),
            ("everything", True, 1_200_000),
            ("everything", False, 3_000_000),
            ("own", False, 3_000_000),
        ]
        months = (
            await plans.grow(question(), PlanGrowth(percent_a_month=20, months=3, days=[4, 5, 5, 4, 5, 5]))
        ).months
        assert [each.month for each in months] == [0, 1, 2, 3]
        assert [each.count for each in months[0].changes] == [3]
        for before, after in itertools.pairwise(months):
            assert after.expected_requests_per_second == pytest.approx(
                before.expected_requests_per_second * 1.2, rel=0.01
            )
            assert after.low_requests_per_second < after.expected_requests_per_second < after.high_requests_per_second
            grown = sum(each.count for each in after.plan.nodes) - sum(each.count for each in before.plan.nodes)
            assert sum(each.count for each in after.changes) == grown > 0
        error = await plans.refusal(plans.grow(question(), PlanGrowth(percent_a_month=20)))
        assert error.reason == "SHORT_HISTORY"
        error = await plans.refusal(plans.grow(question(), PlanGrowth(percent_a_month=-100)))
        assert error.reason == "BAD_GROWTH"
