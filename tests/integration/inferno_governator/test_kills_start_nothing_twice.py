"""A governator process that is killed again and again starts each node once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from inferno.governance.v1 import decision_pb2 as wire
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno_governator.providers.local import Local, Terms
from inferno_runtime.clock import SystemClock
from tests.integration.inferno_governator.governators import Governator, governator_process
from tests.waiting import eventually

SETTINGS = """
governator:
  mode: act
  decide_seconds: 0.05
  settle_seconds: 2
  local_dir: {folder}
  pools:
    small: {{provider: local, models: [m], min: 2, max: 2, act: true, options: {{command: sleep 1000}}}}
"""


async def entries(running: Governator) -> list[wire.LedgerEntry]:
    stub: Any = GovernanceServiceStub(running.client.channel)
    found: list[wire.LedgerEntry] = []
    try:
        async for piece in stub.ListLedger(wire.ListLedgerRequest(), timeout=60):
            found += piece.entries
    except grpc.aio.AioRpcError as error:
        raise AssertionError(error.details()) from error
    return found


async def test_a_governator_that_is_killed_at_each_step_starts_each_node_once(sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "inferno.yaml"
    file.write_text(SETTINGS.format(folder=tmp_path / "nodes"), "utf-8")
    local = Local([], Terms(tmp_path / "nodes"), SystemClock())
    try:
        for step in range(2, 5):
            # It has written so much when it is killed, or a little more: where exactly differs each time.
            async with governator_process(sqlite_url, "--config", str(file)) as running:

                async def far(running: Governator = running, step: int = step) -> bool:
                    return len(await entries(running)) >= step

                await eventually(far, 60, f"{step} entries are written")
                await running.kill()
        async with governator_process(sqlite_url, "--config", str(file)) as running:

            async def called() -> bool:
                outcomes = [each.content for each in await entries(running) if each.kind == "outcome"]
                return sum('"outcome":"called"' in each for each in outcomes) == 2

            # What was on its way when it was killed is looked for in the provider's list before it is asked for again.
            await eventually(called, 50, "both are called")
            stub: Any = GovernanceServiceStub(running.client.channel)
            answer = await stub.ReplayDecisions(wire.ReplayDecisionsRequest(), timeout=60)
            assert answer.same == answer.decisions >= 1
            assert answer.integrity.damaged == 0
            listed = await stub.ListDecisions(wire.ListDecisionsRequest(), timeout=60)
            asked = {action.node_id for each in listed.decisions for action in each.actions}
        machines = {each.node for each in await local.nodes()}
        assert len(machines) == 2
        assert machines == asked
    finally:
        for each in await local.nodes():
            await local.stop(each.node)
