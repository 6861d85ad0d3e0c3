"""The loop closed on one machine: the governator starts, replaces and stops real nodes, and says why."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

import grpc
import psutil
import pytest

from benchmarks.cloud import Cloud, cloud, load, shared_memory
from benchmarks.faults.view import Mesh, mesh_of
from inferno.governance.v1 import decision_pb2, notice_pb2
from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from tests.e2e.conftest import Repository

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
INFERNO = str(Path(sys.executable).with_name("inferno"))
# Patience is compressed, and a node counts as full at a rate that a small machine sends with ease.
CONFIG = """
governator:
  decide_seconds: 2
  pools:
    local: {provider: local, models: [whoami], capacity: {whoami: 10}, boot_seconds: 5, drain_seconds: 60}
  policies:
    calm: {least_seconds: 5}
    sick_node: {after_seconds: 1}
  guards: {cooldown_seconds: 2, blast_radius: 1.0}
"""
ARGUMENTS = ("--governator", "act", "--provider", "local", "--max-nodes", "4")
# Seconds for anything to come about: cold starts on a machine that does other things too.
PATIENCE = 240.0


class Governed:
    """What people see of a governed cloud."""

    def __init__(self, running: Cloud, view: Mesh, channel: grpc.aio.Channel) -> None:
        self.cloud = running
        self._view = view
        self._governator = GovernanceServiceStub(channel)

    async def serving(self) -> set[str]:
        nodes = await self._view.nodes()
        return {name for name, each in nodes.items() if each.phase == mesh.NODE_PHASE_SERVING}

    async def until(self, count: int, *, without: Collection[str] = ()) -> set[str]:
        """Wait until so many nodes serve, and none of those named."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = await self.serving()
            if len(found) == count and not found.intersection(without):
                return found
            assert time.monotonic() < deadline, f"{sorted(found)} serve, not {count}; {await self.told()}"
            await asyncio.sleep(0.2)

    async def decisions(self) -> list[decision_pb2.Decision]:
        """All, the oldest first."""
        answer = await self._governator.ListDecisions(decision_pb2.ListDecisionsRequest(limit=200), timeout=10)
        return sorted(answer.decisions, key=lambda each: each.number)

    async def told(self) -> list[str]:
        """Every action with its reason, the oldest first."""
        found = []
        for decision in await self.decisions():
            reasons = {ruling.node_id: ruling.reason for ruling in decision.rulings if not ruling.guard}
            found += [f"{each.verb} {each.outcome} {reasons or decision.fired}" for each in decision.actions]
        return found

    async def reasons(self, verb: str) -> list[str]:
        return [
            ruling.reason
            for decision in await self.decisions()
            for ruling in decision.rulings
            if ruling.verb == verb and not ruling.guard
        ]

    async def give_notice(self, node: str, seconds: float) -> None:
        """Say what the node's agent says when its cloud takes the machine back."""
        notice = notice_pb2.ProviderNotice(
            node_id=node, incarnation=1, kind=notice_pb2.NOTICE_KIND_RECLAIM, action="terminate", provider="aws"
        )
        notice.noticed_time.FromNanoseconds(time.time_ns())
        notice.reclaim_time.FromNanoseconds(time.time_ns() + int(seconds * 1e9))
        await self._governator.ReportNotice(wire.ReportNoticeRequest(notice=notice), timeout=10)

    def signal(self, node: str, what: signal.Signals, *, family: bool = False) -> None:
        """To a node's guard, as to a machine; ``family``: to its agent and model server too."""
        status = json.loads((self.cloud.data_dir / "nodes" / node / "process.json").read_text())
        guard = psutil.Process(status["guard"]["pid"])
        for each in [guard, *(guard.children(recursive=True) if family else ())]:
            os.kill(each.pid, what)


def inferno(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as people do, and print what they see."""
    done = subprocess.run([INFERNO, *arguments], capture_output=True, text=True, timeout=60, check=False)
    print(f"$ inferno {' '.join(arguments)}", done.stdout + done.stderr, sep="\n")
    return done


async def test_the_governator_replaces_starts_and_stops_real_nodes_without_a_failed_request(
    tmp_path: Path, repository: Repository
) -> None:
    """One cloud for the whole day of a small fleet, because each of its hours needs the nodes of the one before."""
    started = cloud(tmp_path / "data", model_repository=repository("whoami"), config=CONFIG, arguments=ARGUMENTS)
    async with started as running, mesh_of(running) as view, grpc.aio.insecure_channel(running.endpoint) as channel:
        governed = Governed(running, view, channel)
        first = await governed.until(2)
        assert first == {"local-1", "local-2"} == {each["id"] for each in running.nodes}

        owned = shared_memory(running.descendants())
        assert owned

        # A spot machine is taken back: its successor serves before it goes.
        async with load(running.endpoint, rate=5, extra=("--seconds", "600")) as traffic:
            await governed.give_notice("local-1", 300)
            after_notice = await governed.until(3)
            governed.signal("local-1", signal.SIGTERM)
            second = await governed.until(2, without=["local-1"])
            report = await traffic.finish()
        assert report.failed == 0, report.failures[:5]
        assert second < after_notice
        assert "spot_notice" in await governed.reasons("start")

        # A machine is gone for good, all at once.
        governed.signal("local-2", signal.SIGKILL, family=True)
        third = await governed.until(2, without=["local-2"])
        assert "sick_node" in await governed.reasons("start")

        # Load rises to what four nodes carry, and falls to what two do.
        async with load(running.endpoint, rate=35, extra=("--seconds", "600")) as traffic:
            fourth = await governed.until(4)
            assert third < fourth
            await asyncio.sleep(5)
            report = await traffic.finish()
        assert report.failed == 0, report.failures[:5]
        assert len(report.servers) == 4, "a node that was started took no traffic"
        assert "objective_at_risk" in await governed.reasons("start")
        async with load(running.endpoint, rate=5, extra=("--seconds", "600")) as traffic:
            await governed.until(2)
            report = await traffic.finish()
        assert report.failed == 0, report.failures[:5]
        assert {"idle", "under_utilised"} & set(await governed.reasons("stop"))

        # The day is in the ledger, and can be decided again from it.
        await asyncio.to_thread(inferno, "decisions", "ls", "--endpoint", running.endpoint)
        for decision in await governed.decisions():
            if decision.actions:
                number = str(decision.number)
                await asyncio.to_thread(inferno, "decisions", "explain", number, "--endpoint", running.endpoint)
        replayed = await asyncio.to_thread(inferno, "decisions", "replay", "--endpoint", running.endpoint)
        assert replayed.returncode == 0, replayed.stderr
    assert not list((tmp_path / "data" / "nodes").glob("local-*"))
    assert not owned & {each.name for each in Path("/dev/shm").iterdir()}
