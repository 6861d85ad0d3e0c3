"""Simulations of recorded and given demand, asked of a governator, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.governance.v1 import price_pb2
from inferno.governance.v1 import simulation_pb2 as wire
from inferno.governance.v1.capacity_pb2 import CapacityReport, CapacityStep
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Denied, InfernoError, InvalidInput, NotFound
from inferno_runtime.identity.caller import CERTIFICATE, DOOR
from inferno_runtime.rpc import error_from_rpc
from tests.integration.inferno_governator.governators import governator
from tests.integration.inferno_governator.nodes import FACTS, batch

NOW = 1_795_014_400 // 60 * 60
STEPS = [wire.ThroughputStep(concurrency=count, requests_per_second=float(count + 1)) for count in (1, 7)]


class Asking:
    """Asks a governator."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = GovernanceServiceStub(channel)

    async def __call__(self, request: wire.SimulateRequest, *headers: tuple[str, str]) -> wire.SimulateResponse:
        try:
            answer: wire.SimulateResponse = await self._stub.Simulate(request, timeout=60, metadata=headers)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error, "the governator") from error
        return answer

    async def report(self, node: str, model: str) -> None:
        steps = [CapacityStep(batch=1, concurrency=n, requests=9, requests_per_second=2.0 * n) for n in (1, 4)]
        report = CapacityReport(
            node_id=node, measured_at=Timestamp(seconds=NOW - 600), hardware="h", model=model, configuration="c",
            complete=True, steps=steps,
        )  # fmt: skip
        await self._stub.ReportCapacity(governance.ReportCapacityRequest(reports=[report]), timeout=60)


@asynccontextmanager
async def asking(url: str, folder: Path) -> AsyncIterator[tuple[Any, Asking]]:
    async with governator(url, folder, clock=ManualClock(wall=NOW)) as client:
        yield client, Asking(client.channel)


def pool(name: str = "p", **chosen: Any) -> wire.SimulatedPool:
    made: dict[str, Any] = {"throughput": STEPS, "price_micros_per_hour": 3_600_000, "nodes": 1}
    return wire.SimulatedPool(name=name, **(made | chosen))


def alternative(*pools: wire.SimulatedPool, name: str = "a", **chosen: Any) -> wire.SimulatedAlternative:
    return wire.SimulatedAlternative(name=name, pools=pools or [pool()], **chosen)


def steady(rate: float, *alternatives: wire.SimulatedAlternative, **more: Any) -> wire.SimulateRequest:
    rates = wire.RateSeries(requests_per_second=[rate] * 60, step_seconds=60)
    return wire.SimulateRequest(rates=rates, alternatives=alternatives or [alternative()], **more)


async def test_demand_that_was_recorded_is_replayed_on_nodes_like_those_of_the_mesh(
    database_url: str, socket_dir: Path
) -> None:
    async with asking(database_url, socket_dir) as (client, simulate):
        sent = [
            batch(at + 1, at=NOW - 1800 + 60 * at + 30, requests=120 if at < 10 else 60, facts=None if at else FACTS)
            for at in range(20)
        ]
        await client.store(sent)
        await simulate.report("node-1", "m")
        like = wire.SimulatedPool(like_node="node-1", nodes=2)
        request = wire.SimulateRequest(
            recorded=wire.RecordedDemand(model="m", seconds=3600),
            alternatives=[alternative(like, name="like"), alternative(pool(nodes=3), name="more")],
        )
        answer = await simulate(request)
    assert (answer.demand, answer.seconds, answer.begin.seconds) == ("m", 3600, NOW - 3600)
    found, more = answer.outcomes
    assert (found.name, more.name) == ("like", "more")
    assert found.requests == found.served == 10 * 120 + 10 * 60
    # Two nodes at what node-1 costs, for an hour; three at the price that was given.
    assert (found.cost_micros, more.cost_micros) == (2 * 3_600_000, 3 * 3_600_000)
    assert found.latency_seconds[0] == pytest.approx(0.5, rel=0.2)
    assert max(moment.requests_per_second for moment in found.moments) == pytest.approx(2.0)


async def test_an_offer_is_priced_as_the_catalogue_has_it(database_url: str, socket_dir: Path) -> None:
    offer = price_pb2.Offer(
        cloud="aws", region="us-east-1", instance_type="p5.48xlarge", kind=price_pb2.PRICE_KIND_ON_DEMAND
    )
    cells = [wire.GridCell(input_tokens=1, output_tokens=1, batch=8, first_token_seconds=0.1, step_seconds=0.02)]
    rented = wire.SimulatedPool(offer=offer, cells=cells, gpus=8, nodes=1)
    async with asking(database_url, socket_dir) as (_, simulate):
        (outcome,) = (await simulate(steady(5, alternative(rented)))).outcomes
        assert outcome.cost_micros == 55_040_000
        offer.instance_type = "p99.large"
        with pytest.raises(NotFound, match="no price of p99"):
            await simulate(steady(5, alternative(wire.SimulatedPool(offer=offer, cells=cells, nodes=1))))


async def test_a_policy_under_losses_answers_the_same_for_the_same_seed(database_url: str, socket_dir: Path) -> None:
    losses = wire.SpotLosses(per_day=240, mean_seconds=600, together=0.5, spread=0.5)
    chosen = alternative(
        pool(spot=True, zone="a", maximum=5, boot_seconds=60), policy="hpa", target=0.6, spot_losses=losses
    )
    async with asking(database_url, socket_dir) as (_, simulate):
        request = steady(10, chosen, seed=3, objective=wire.SimulatedObjective(latency_seconds=3, share=0.9))
        one, other = await simulate(request), await simulate(request)
    assert one == other
    (outcome,) = one.outcomes
    assert outcome.losses >= 1
    assert outcome.starts >= 1


@pytest.mark.parametrize(
    ("request_", "error", "said"),
    [
        (wire.SimulateRequest(alternatives=[alternative()]), InvalidInput, "Neither recorded demand"),
        (steady(-1), InvalidInput, r"rates.requests_per_second\[0\] is -1"),
        (steady(float("nan")), InvalidInput, r"requests_per_second\[0\] is nan"),
        (
            wire.SimulateRequest(rates=wire.RateSeries(requests_per_second=[1, 1], step_seconds=60)),
            InvalidInput,
            "altern",
        ),
        (steady(1, alternative(policy="best")), InvalidInput, "'best', which is none"),
        (steady(1, alternative(pool(price_micros_per_hour=0))), InvalidInput, "has no price"),
        (steady(1, alternative(pool(throughput=[]))), InvalidInput, r"pools\[0\] tells in none or several ways"),
        (steady(1, alternative(pool(boot_seconds=-1))), InvalidInput, r"pools\[0\].boot_seconds is -1"),
        (steady(1, alternative(pool(maximum=5000))), InvalidInput, "maximum is 5000"),
        (steady(1, alternative(), alternative()), InvalidInput, "Two alternatives have one name"),
        (steady(1, decide_seconds=0.1), InvalidInput, "decide_seconds is 0.1"),
        (steady(1, alternative(wire.SimulatedPool(like_node="x", nodes=1))), NotFound, "nobody has measured"),
        (
            wire.SimulateRequest(recorded=wire.RecordedDemand(model="m"), alternatives=[alternative()]),
            NotFound,
            "No request for the model 'm'",
        ),
        (
            wire.SimulateRequest(
                recorded=wire.RecordedDemand(model="m", seconds=86400 * 60), alternatives=[alternative()]
            ),
            InvalidInput,
            "60 days long",
        ),
    ],
)
async def test_what_cannot_be_is_refused_with_its_name(
    tmp_path: Path, socket_dir: Path, request_: wire.SimulateRequest, error: type[InfernoError], said: str
) -> None:
    async with asking(f"sqlite:///{tmp_path / 'a.db'}", socket_dir) as (_, simulate):
        with pytest.raises(error, match=said):
            await simulate(request_)


async def test_a_node_may_not_ask(tmp_path: Path, socket_dir: Path) -> None:
    async with asking(f"sqlite:///{tmp_path / 'a.db'}", socket_dir) as (_, simulate):
        with pytest.raises(Denied):
            await simulate(steady(1), (DOOR, "mesh"), (CERTIFICATE, "Hash=00;URI=spiffe://inferno/node/a"))
