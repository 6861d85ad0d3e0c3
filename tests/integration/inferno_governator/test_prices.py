"""Prices in the database: what machines and nodes cost, set, imported, corrected, and what the bill makes of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.governance.v1 import price_pb2 as wire
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno.governance.v1.telemetry_pb2 import NodeFacts, TelemetryBatch
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Denied, InvalidInput, NotFound
from inferno_runtime.identity.caller import CERTIFICATE, DOOR
from inferno_runtime.rpc import error_from_rpc
from tests.integration.inferno_governator.governators import StoppableClient, governator
from tests.integration.inferno_governator.nodes import batch
from tests.integration.inferno_governator.other_process import damage_in_use
from tests.waiting import eventually

# 2026-11-18, 15:06:40 UTC: after the bundled catalogue was made.
NOW = 1_795_014_400
P5 = wire.Offer(cloud="aws", region="us-east-1", instance_type="p5.48xlarge", kind=wire.PRICE_KIND_ON_DEMAND)
FACTS = NodeFacts(region="us-east-1", device="NVIDIA H100", gpu_count=8, instance_type="p5.48xlarge", provider="aws")
LIST = 55_040_000


class Prices:
    """Asks about prices."""

    def __init__(self, client: StoppableClient, headers: Sequence[tuple[str, str]] = ()) -> None:
        self._stub: Any = GovernanceServiceStub(client.channel)
        self._headers = headers

    async def __call__(self, method: str, request: Any) -> Any:
        try:
            return await getattr(self._stub, method)(request, timeout=60, metadata=self._headers)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error, "the governator") from error

    async def set(self, micros: int, **more: Any) -> Any:
        return await self("SetPrice", wire.SetPriceRequest(offer=P5, price_micros_per_hour=micros, **more))

    async def listed(self, **chosen: Any) -> list[wire.Price]:
        return list((await self("ListPrices", wire.ListPricesRequest(**chosen))).prices)

    async def in_force(self) -> list[int]:
        found = await self.listed(cloud="aws", instance_type="p5.48xlarge", kind=wire.PRICE_KIND_ON_DEMAND)
        return [each.price_micros_per_hour for each in found if each.state != wire.PRICE_STATE_JUMPED]


@asynccontextmanager
async def pricing(
    url: str, folder: Path, clock: ManualClock, **settings: Any
) -> AsyncIterator[tuple[StoppableClient, Prices]]:
    async with governator(url, folder, clock=clock, **settings) as client:
        yield client, Prices(client)


def clock_at(seconds: float = 0) -> ManualClock:
    return ManualClock(wall=NOW + seconds)


async def test_the_catalogue_is_listed_by_gpu_price_in_pages_with_age_and_state(
    database_url: str, socket_dir: Path
) -> None:
    async with pricing(database_url, socket_dir, clock_at()) as (_, prices):
        first = await prices("ListPrices", wire.ListPricesRequest(gpu="h100", page_size=7))
        assert len(first.prices) == 7
        assert first.next_page_token
        rest = await prices(
            "ListPrices", wire.ListPricesRequest(gpu="h100", page_size=1000, page_token=first.next_page_token)
        )
        both = [*first.prices, *rest.prices]
        assert len(both) == first.total_size > 100
        assert [each.gpu_price_micros_per_hour for each in both] == sorted(
            each.gpu_price_micros_per_hour for each in both
        )
        assert {each.offer.gpu for each in both} == {"H100"}
        cheap = await prices.listed(gpu="H100", max_gpu_price_micros=3_000_000, kind=wire.PRICE_KIND_ON_DEMAND)
        assert cheap
        assert all(each.gpu_price_micros_per_hour <= 3_000_000 and each.as_of and each.source for each in cheap)
        (p5,) = await prices.listed(cloud="AWS", instance_type="P5.48xlarge", region="us-east-1")
        assert (p5.price_micros_per_hour, p5.gpu_price_micros_per_hour) == (LIST, LIST // 8)
        assert (p5.state, p5.as_of) == (wire.PRICE_STATE_STALE, "2026-07-20")
        assert "121 days old" in p5.reason
        assert {each.offer.cloud for each in await prices.listed(state=wire.PRICE_STATE_OK)} >= {"lambda", "runpod"}
        with pytest.raises(InvalidInput, match="page token"):
            await prices.listed(page_token="next please")


async def test_a_jump_waits_until_it_is_confirmed_and_survives_a_restart(database_url: str, socket_dir: Path) -> None:
    async with pricing(database_url, socket_dir, clock_at()) as (_, prices):
        outcome = (await prices.set(30_000_000)).outcome
        assert (outcome.taken, outcome.previous_micros_per_hour) == ("waits", LIST)
        assert "-45 %" in outcome.reason
        assert (await prices.set(50_000_000)).outcome.taken == "changed"
        assert (await prices.set(50_000_000)).outcome.taken == "same"
        assert (await prices.set(30_000_000, source="a friend")).outcome.taken == "waits"
        for refused in (0, -5, 1_000, 10**11):
            outcome = (await prices.set(refused, confirm=True)).outcome
            assert outcome.taken == "refused"
            assert outcome.reason
        assert await prices.in_force() == [50_000_000]
    async with pricing(database_url, socket_dir, clock_at(86_400)) as (_, prices):
        assert await prices.in_force() == [50_000_000]
        (waits,) = await prices.listed(state=wire.PRICE_STATE_JUMPED)
        assert (waits.price_micros_per_hour, waits.source) == (30_000_000, "a friend")
        # The next day the same is said again: two agree.
        assert (await prices.set(30_300_000)).outcome.taken == "changed"
        assert (await prices.set(60_000_000, confirm=True)).outcome.taken == "changed"
        history = (await prices("ListPriceHistory", wire.ListPriceHistoryRequest(offer=P5))).prices
        assert [each.price_micros_per_hour for each in history] == [
            *(LIST, 30_000_000, 50_000_000, 30_000_000, 30_300_000, 60_000_000)
        ]
        assert not history[0].HasField("effective_time") or history[0].effective_time.seconds == 0
        assert history[2].effective_time.seconds == NOW // 60 * 60
        assert [each.HasField("replaced_time") for each in history] == [False, True, False, True, False, False]
        nothing = wire.Offer(cloud="aws", region="us-east-1", instance_type="p9.small")
        with pytest.raises(NotFound, match=r"p9\.small in aws us-east-1"):
            await prices("ListPriceHistory", wire.ListPriceHistoryRequest(offer=nothing))


TABLE = """\
cloud,region,instance_type,gpu,gpu_count,gpu_memory_gb,kind,usd_per_hour,as_of,source
mine,here,box-1,H100,1,80,on_demand,2.50,2026-11-01,contract
mine,here,box-2,H900,1,80,on_demand,2.50,2026-11-01,contract
aws,us-east-1,p5.48xlarge,H100,8,80,on_demand,10,2026-11-01,contract
aws,us-east-1,p5.48xlarge,H100,8,80,on_demand,30,2026-11-02,contract
mine,here,box-3,H100,1,80,spot,0,2026-11-01,contract
"""


async def test_a_table_is_imported_row_by_row_and_bad_rows_are_named_by_line(
    database_url: str, socket_dir: Path
) -> None:
    async with pricing(database_url, socket_dir, clock_at()) as (_, prices):
        answer = await prices("ImportPrices", wire.ImportPricesRequest(csv=TABLE))
        counts = answer.counts
        assert (counts.new, counts.changed, counts.waits, counts.refused) == (1, 0, 1, 3)
        assert [(each.line, each.taken) for each in answer.outcomes] == [
            *((3, "refused"), (4, "refused"), (5, "waits"), (6, "refused"))
        ]
        assert "'H900' is not known" in answer.outcomes[0].reason
        assert [each.price_micros_per_hour for each in await prices.listed(cloud="mine")] == [2_500_000]
        again = await prices("ImportPrices", wire.ImportPricesRequest(csv=TABLE, confirm=True))
        assert (again.counts.same, again.counts.changed, again.counts.refused) == (1, 1, 3)
        assert await prices.in_force() == [30_000_000]
        for wrong in ("", "x" * 3_000_001):
            with pytest.raises(InvalidInput):
                await prices("ImportPrices", wire.ImportPricesRequest(csv=wrong))


async def test_a_node_costs_what_its_machine_costs_and_the_past_stays_what_it_was(
    database_url: str, socket_dir: Path
) -> None:
    clock = clock_at()
    start = NOW // 60 * 60

    async with pricing(database_url, socket_dir, clock) as (client, prices):

        async def second(sequence: int, minute: int) -> None:
            await client.store([batch(sequence, at=start + minute * 60 + 10, facts=FACTS if sequence == 1 else None)])

        async def bill() -> tuple[int, int]:
            """Of the minute before the price changed, and of what came after it."""
            reports = [await client.report(start, start + 60), await client.report(start + 60, start + 3600)]
            return reports[0].total_cost_micros, reports[1].total_cost_micros

        await second(1, 0)
        # A proxy tells of requests alone, and costs nothing.
        await client.store([TelemetryBatch(node_id="proxy", incarnation=1, sequence=1)])
        (node,) = (await prices("ListNodePrices", wire.ListNodePricesRequest())).nodes
        assert (node.node_id, node.price_micros_per_hour, node.origin, node.running) == (
            *("node-1", LIST, "catalogue", True),
        )
        paid, _ = await bill()
        assert paid > 0
        assert (await prices.set(72_000_000, confirm=True)).outcome.taken == "changed"
        assert await bill() == (paid, 0), "what is billed stays as it was billed"
        clock.jump_wall(120)
        await second(2, 2)
        old, new = await bill()
        assert old > paid, "what lies between is overhead"
        # On purpose, the past is billed again, up to where the price changed, and no further.
        answer = await prices.set(36_000_000, start=Timestamp(seconds=start - 60), end=Timestamp(seconds=start + 60))
        assert answer.rebilled_nodes == 1
        again, same = await bill()
        assert again == pytest.approx(old * 36_000_000 / LIST, abs=10)
        assert same == new
        (p5,) = await prices.in_force()
        assert p5 == 72_000_000
        assert (await prices.set(18_000_000, start=Timestamp(seconds=start - 60))).rebilled_nodes == 1
        assert await prices.in_force() == [18_000_000]
        again, less = await bill()
        assert again == pytest.approx(old * 18_000_000 / LIST, abs=10)
        assert less == pytest.approx(new * 18_000_000 / 72_000_000, abs=10)
        with pytest.raises(InvalidInput):
            await prices.set(18_000_000, start=Timestamp(seconds=NOW + 9_000))
        with pytest.raises(InvalidInput):
            await prices.set(18_000_000, end=Timestamp(seconds=NOW))
        with pytest.raises(InvalidInput):
            await prices.set(0, start=Timestamp(seconds=start - 60))


async def test_one_s_own_terms_change_what_nodes_cost_while_it_runs(
    sqlite_url: str, socket_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("discounts: [{cloud: aws, percent: 50}]\nspot_history: [{file: spot.csv}]\n", "utf-8")
    header = TABLE.splitlines()[0]
    past = [f"aws,us-east-1,p5.48xlarge,H100,8,80,spot,{20 + day},2026-11-0{day},mine" for day in (1, 2, 3)]
    (tmp_path / "spot.csv").write_text("\n".join([header, *past, "nonsense"]), "utf-8")
    clock = clock_at()
    async with pricing(sqlite_url, socket_dir, clock, prices=str(file)) as (client, prices):
        nodes = {"a": FACTS, "b": FACTS, "s": NodeFacts(), "cpu": NodeFacts(device="cpu")}
        nodes["s"].CopyFrom(FACTS)
        nodes["s"].spot = True
        for name, facts in nodes.items():
            await client.store([batch(1, name, at=clock.wall(), facts=facts)])
        await client.store([batch(1, "mute", at=clock.wall())])

        async def costs() -> dict[str, tuple[int, str]]:
            found = await prices("ListNodePrices", wire.ListNodePricesRequest())
            return {each.node_id: (each.price_micros_per_hour, each.origin) for each in found.nodes}

        half = {"a": (LIST // 2, "catalogue"), "b": (LIST // 2, "catalogue")}
        other = {"s": (23_000_000 // 2, "catalogue"), "cpu": (0, "unpriced"), "mute": (0, "unpriced")}
        assert await costs() == half | other
        reservation = "{name: r, cloud: aws, count: 1, usd_per_hour: 12}"
        file.write_text(f"reservations: [{reservation}]\nnodes: [{{nodes: cpu, usd_per_hour: 0.1}}]\n", "utf-8")
        await eventually(lambda: clock.sleepers == 4, 5, "the next look is planned")
        await clock.advance(60)
        await eventually(lambda: clock.sleepers == 4, 5, "it has looked")
        assert await costs() == {
            "a": (12_000_000, "reservation"),
            "b": (LIST, "catalogue"),
            "s": (23_000_000, "catalogue"),
            "cpu": (100_000, "node"),
            "mute": (0, "unpriced"),
        }
        (use,) = (await prices("ListNodePrices", wire.ListNodePricesRequest())).commitments
        assert (use.name, use.used_micros_per_hour, use.unused_micros_per_hour) == ("r", 12_000_000, 0)
        # Nobody has sent anything since it is in force, so all of it is unused, and a line of the bill.
        now = int(clock.wall()) // 60 * 60
        line = (await client.report(now, now + 3600)).lines[-1]
        assert (line.node_id, line.model, line.cost_micros) == ("", "r", 12_000_000)
        # What is wrong now leaves what was right in force.
        file.write_text("nodes: [", "utf-8")
        await clock.advance(60)
        await eventually(lambda: clock.sleepers == 4, 5, "it has looked again")
        assert (await costs())["cpu"] == (100_000, "node")


async def test_a_database_that_was_set_aside_leaves_no_node_without_a_price(sqlite_url: str, socket_dir: Path) -> None:
    clock = clock_at()
    async with pricing(sqlite_url, socket_dir, clock) as (client, prices):
        await client.store([batch(1, at=clock.wall(), facts=FACTS)])
        await damage_in_use(Path(sqlite_url.removeprefix("sqlite:///")))

        async def stored() -> bool:
            try:
                await prices.set(50_000_000)
            except Exception as error:  # noqa: BLE001 - whatever a damaged database says
                return "changed" in str(error)
            return True

        await eventually(lambda: _is(stored), 20, "the new database takes prices")
        assert await prices.in_force() == [50_000_000]
        assert len(await prices.listed(page_size=1000)) > 500


async def test_nodes_that_cost_what_an_old_price_says_or_one_that_waits_are_an_alert(
    sqlite_url: str, socket_dir: Path
) -> None:
    clock = clock_at()
    async with pricing(sqlite_url, socket_dir, clock) as (client, prices):
        await client.store([batch(1, at=clock.wall(), facts=FACTS)])
        assert (await prices.set(30_000_000)).outcome.taken == "waits"
        stub: Any = GovernanceServiceStub(client.channel)

        async def alerts() -> set[str]:
            if clock.sleepers >= 4:
                await clock.advance(60)
            found = (await stub.ListAlerts(governance.ListAlertsRequest(), timeout=60)).alerts
            return {each.subject for each in found if each.kind == "price"}

        machine = "p5.48xlarge in aws us-east-1"
        assert await eventually(alerts, 60, "they are told") == {f"{machine} is old", f"{machine} waits"}


async def _is(ask: Any) -> bool:
    return bool(await ask())


async def test_only_an_operator_sets_prices(sqlite_url: str, socket_dir: Path) -> None:
    async with pricing(sqlite_url, socket_dir, clock_at()) as (client, _):
        node = Prices(client, ((DOOR, "mesh"), (CERTIFICATE, "Hash=00;URI=spiffe://inferno/node/a")))
        assert await node.listed(gpu="B200")
        with pytest.raises(Denied):
            await node.set(50_000_000)
        with pytest.raises(Denied):
            await node("ImportPrices", wire.ImportPricesRequest(csv=TABLE))
        with pytest.raises(Denied):
            await node("RefreshPrices", wire.RefreshPricesRequest())


@pytest.mark.parametrize(
    ("offer", "why"),
    [
        (wire.Offer(region="r", instance_type="t", gpu="H100"), "offer.cloud is empty"),
        (wire.Offer(cloud="c", region="r", instance_type="t"), "no offer of this machine is known"),
        (wire.Offer(cloud="c", region="r", instance_type="t", gpu="H900", gpu_count=1), "'H900' is not known"),
        (wire.Offer(cloud="c", region="r", instance_type="t", gpu="H100"), "gpu_count is not at least 1"),
    ],
)
async def test_an_offer_that_is_not_whole_is_refused(
    sqlite_url: str, socket_dir: Path, offer: wire.Offer, why: str
) -> None:
    async with pricing(sqlite_url, socket_dir, clock_at()) as (_, prices):
        with pytest.raises(InvalidInput, match=why):
            await prices("SetPrice", wire.SetPriceRequest(offer=offer, price_micros_per_hour=1))
        with pytest.raises(InvalidInput, match="no day"):
            await prices.set(LIST, as_of="yesterday")


async def test_grpcurl_lists_and_sets_prices(sqlite_url: str, socket_dir: Path) -> None:
    async with pricing(sqlite_url, socket_dir, clock_at()):
        call = ["grpcurl", "-plaintext", "-unix", "-d"]
        service = [str(socket_dir / "governator"), "inferno.governance.v1.GovernanceService"]

        async def ask(method: str, request: object) -> Any:
            command = [*call, json.dumps(request), service[0], f"{service[1]}/{method}"]
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=60, check=True
            )
            return json.loads(done.stdout)

        named = {"cloud": "mine", "region": "here", "instanceType": "box", "gpu": "L4", "gpuCount": 1}
        answer = await ask("SetPrice", {"offer": named, "priceMicrosPerHour": "700000"})
        assert answer["outcome"]["taken"] == "new"
        listed = await ask("ListPrices", {"cloud": "mine"})
        assert listed["prices"][0]["offer"]["instance_type"] == "box"
        assert listed["prices"][0]["state"] == "PRICE_STATE_OK"
