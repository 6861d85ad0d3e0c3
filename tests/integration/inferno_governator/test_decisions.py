"""Decisions over the wire: proposed, explained, approved, made again, and told as the ledger keeps them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferno.governance.v1 import decision_pb2 as wire
from inferno.governance.v1 import drain_pb2
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno_governator.pools.settings import PoolSettings
from inferno_runtime.identity.caller import DOOR
from tests.integration.inferno_governator.governators import StoppableClient, governator
from tests.waiting import eventually

# It does not act: an approval is rehearsed, and no process is started.
POOL = PoolSettings(provider="local", models=("m",), min=1, max=2, options={"command": "sleep 1000"})


@pytest.fixture
async def client(sqlite_url: str, socket_dir: Path, tmp_path: Path) -> AsyncIterator[StoppableClient]:
    more: dict[str, Any] = {
        "pools": {"small": POOL},
        "mode": "advise",
        "decide_seconds": 0.1,
        "local_dir": str(tmp_path / "nodes"),
    }
    async with governator(sqlite_url, socket_dir, **more) as client:
        yield client


async def waiting(stub: Any) -> wire.Decision:
    found: list[wire.Decision] = []

    async def look() -> bool:
        answer = await stub.ListDecisions(wire.ListDecisionsRequest(waiting=True), timeout=60)
        found[:] = answer.decisions
        return bool(found)

    await eventually(look, 60, "something is proposed")
    return found[0]


async def test_what_is_proposed_is_explained_approved_and_made_again(client: StoppableClient) -> None:
    stub: Any = GovernanceServiceStub(client.channel)
    proposed = await waiting(stub)
    assert (proposed.fired, proposed.mode) == ("below_minimum", wire.MODE_ADVISE)
    assert proposed.actions[0].waits
    approved = await stub.ApproveDecision(wire.ApproveDecisionRequest(number=proposed.number), timeout=60)
    assert approved.decision.approved_by

    async def done() -> bool:
        answer = await stub.GetDecision(wire.GetDecisionRequest(number=proposed.number), timeout=60)
        return bool(answer.decision.actions[0].outcome == "done")

    await eventually(done, 60, "it is carried out")
    told = await stub.ExplainDecision(wire.ExplainDecisionRequest(number=proposed.number), timeout=60)
    assert any("Rule below_minimum fired." in each for each in told.sentences)
    assert any("approved it" in each for each in told.sentences)
    assert "Rehearsed" in told.sentences[-1]
    assert set(told.ages) == {"telemetry", "prices", "providers"}
    again = await stub.ReplayDecisions(wire.ReplayDecisionsRequest(), timeout=60)
    assert again.decisions == again.same >= 1
    assert again.integrity.damaged == 0


async def test_anybody_can_follow_the_chain_with_what_the_ledger_tells(client: StoppableClient) -> None:
    stub: Any = GovernanceServiceStub(client.channel)
    await waiting(stub)
    entries = [each async for piece in stub.ListLedger(wire.ListLedgerRequest(), timeout=60) for each in piece.entries]
    previous = "0" * 64
    for number, each in enumerate(entries, 1):
        fields = [number, each.time.ToMicroseconds(), each.kind, each.decision, each.by, each.content, previous]
        text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(text.encode()).hexdigest()
        assert (each.number, each.hash) == (number, previous)
    assert [each.kind for each in entries][:2] == ["mode", "decision"]


async def test_the_ledger_is_followed_as_it_is_written(client: StoppableClient) -> None:
    stub: Any = GovernanceServiceStub(client.channel)
    await waiting(stub)
    told = stub.WatchDecisions(wire.WatchDecisionsRequest(after=1), timeout=60)
    assert (await told.read()).entry.kind == "decision"
    await stub.SetMode(wire.SetModeRequest(mode=wire.MODE_OBSERVE, reason="enough"), timeout=60)
    kinds = [(await told.read()).entry.kind for _ in range(2)]
    assert kinds == ["mode", "outcome"]
    mode = await stub.GetMode(wire.GetModeRequest(), timeout=60)
    assert (mode.mode, list(mode.acting_pools)) == (wire.MODE_OBSERVE, [])
    assert not (await stub.ListDecisions(wire.ListDecisionsRequest(waiting=True), timeout=60)).decisions


@pytest.mark.parametrize(
    ("call", "request_", "code"),
    [
        ("GetDecision", wire.GetDecisionRequest(number=99_999), grpc.StatusCode.NOT_FOUND),
        ("ApproveDecision", wire.ApproveDecisionRequest(number=99_999), grpc.StatusCode.NOT_FOUND),
        ("SetMode", wire.SetModeRequest(), grpc.StatusCode.INVALID_ARGUMENT),
        ("SetMode", wire.SetModeRequest(mode=wire.MODE_ACT, reason="\n"), grpc.StatusCode.INVALID_ARGUMENT),
        ("ExchangeDrains", drain_pb2.ExchangeDrainsRequest(), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_what_cannot_be_is_refused(
    client: StoppableClient, call: str, request_: object, code: grpc.StatusCode
) -> None:
    stub: Any = GovernanceServiceStub(client.channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(stub, call)(request_, timeout=60)
    assert refused.value.code() is code


@pytest.mark.parametrize("call", ["ApproveDecision", "SetMode", "ExchangeDrains"])
async def test_who_is_no_operator_changes_nothing(client: StoppableClient, call: str) -> None:
    requests: dict[str, Any] = {
        "ApproveDecision": wire.ApproveDecisionRequest(number=1),
        "SetMode": wire.SetModeRequest(mode=wire.MODE_ACT),
        "ExchangeDrains": drain_pb2.ExchangeDrainsRequest(proxy_id="p"),
    }
    stub: Any = GovernanceServiceStub(client.channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(stub, call)(requests[call], metadata=((DOOR, "public"),), timeout=60)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
