"""Alerts from telemetry to their receivers, over the wire and across restarts, on both databases."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from pydantic import SecretStr

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno.governance.v1.notice_pb2 import NOTICE_KIND_RECLAIM, ProviderNotice
from inferno.governance.v1.watch_pb2 import Objective
from inferno_governator.alerts.settings import ReceiverSettings
from inferno_governator.budgets.settings import BudgetSettings
from inferno_governator.watch.settings import ObjectiveSettings
from inferno_runtime.clock import ManualClock
from inferno_runtime.identity.caller import CERTIFICATE, DOOR
from inferno_runtime.process import free_port
from tests.integration.inferno_governator.alert_receivers import (
    alertmanager,
    alertmanager_program,
    hook,
    known_alerts,
)
from tests.integration.inferno_governator.governators import governator, governator_process
from tests.integration.inferno_governator.nodes import FACTS, batch
from tests.waiting import eventually

__all__ = ["alertmanager_program"]
NODE = ((DOOR, "mesh"), (CERTIFICATE, "Hash=00;URI=spiffe://inferno/node/n"))
# A node costs 1,000 micro-dollars a second.
BUDGETS = {"all": BudgetSettings(amount=Decimal("0.002"), period="day")}


def webhook(url: str, **settings: Any) -> dict[str, ReceiverSettings]:
    headers = {"authorization": SecretStr("Bearer secret")}
    return {"hook": ReceiverSettings(kind="webhook", url=SecretStr(url), headers=headers, every_seconds=10, **settings)}


async def passing(clock: ManualClock, check: Callable[[], object], what: str) -> None:
    """Let time go on, as fast as everybody in the governator keeps up, until something is so."""

    async def step() -> object:
        if not check() and clock.sleepers == 5:
            await clock.advance(10)
        return check()

    await eventually(step, 30, what)


async def test_a_receiver_hears_once_of_what_begins_grows_worse_and_ends_also_across_restarts(
    database_url: str, socket_dir: Path
) -> None:
    clock = ManualClock()
    async with hook() as receiver:
        settings: dict[str, Any] = {"budgets": BUDGETS, "alerts": webhook(receiver.url), "clock": clock}
        async with governator(database_url, socket_dir, **settings) as client:
            await eventually(lambda: clock.sleepers == 5, 20, "it has looked for the first time")
            await client.store([batch(1, at=clock.wall(), facts=FACTS)])
            await passing(clock, lambda: receiver.heard, "half of the budget is told")
            assert receiver.heard == [("all", "firing", "warning")]
            (told,) = receiver.alerts
            assert "has spent $0.0010 of $0.0020 (50 %)" in told["cause"]
            assert (told["evidence"]["threshold"], told["next"]) == ("50 %", "inferno budget ls")
            assert receiver.headers == ["Bearer secret"]
        receiver.status = 503
        async with governator(database_url, socket_dir, **settings) as client:
            await client.store([batch(2, at=clock.wall())])
            asked = receiver.asked
            await passing(clock, lambda: receiver.asked > asked + 1, "it is asked in vain, and again")
            assert len(receiver.alerts) == 1
        receiver.status = 200
        async with governator(database_url, socket_dir, **settings):
            await passing(clock, lambda: len(receiver.heard) == 2, "what it missed is told after the restart")
            assert receiver.heard[1] == ("all", "firing", "critical")
            # A new day: after five minutes without the finding it is over.
            clock.jump_wall(86_400)
            await passing(clock, lambda: receiver.alerts[-1]["status"] == "resolved", "the end is told")
        assert [each for each in receiver.heard if each[0] == "all"] == [
            ("all", "firing", "warning"),
            ("all", "firing", "critical"),
            ("all", "resolved", "critical"),
        ]


async def test_alerts_are_listed_silenced_and_counted(database_url: str, socket_dir: Path) -> None:
    clock = ManualClock()
    listen = f"127.0.0.1:{free_port()}"
    async with (
        hook() as receiver,
        governator(
            database_url,
            socket_dir,
            clock=clock,
            budgets=BUDGETS,
            alerts=webhook(receiver.url, least="critical"),
            metrics_listen=listen,
        ) as client,
    ):
        stub: Any = GovernanceServiceStub(client.channel)

        async def alerts() -> Any:
            lasting = (await stub.ListAlerts(wire.ListAlertsRequest(), timeout=60)).alerts
            return lasting if len(lasting) == 3 else None

        notice = ProviderNotice(node_id="node-1", incarnation=1, kind=NOTICE_KIND_RECLAIM, action="terminate")
        notice.reclaim_time.seconds = int(clock.wall()) + 120
        await client.store([batch(1, at=clock.wall(), facts=FACTS), batch(2, at=clock.wall(), dropped=7)])
        await stub.ReportNotice(wire.ReportNoticeRequest(notice=notice), timeout=60)
        await eventually(lambda: clock.sleepers == 5, 20, "it rests")
        await clock.advance(60)
        found = {each.subject: each for each in await eventually(alerts, 20, "there are three")}
        assert found.keys() == {"all", "node-1 reclaim", "node-1 dropped"}
        assert "takes the machine back at" in found["node-1 reclaim"].cause
        assert "dropped 7 samples" in found["node-1 dropped"].cause
        request = wire.AcknowledgeAlertRequest(fingerprint=found["all"].fingerprint, silence_seconds=3600)
        answer = await stub.AcknowledgeAlert(request, timeout=60)
        assert answer.alert.silenced_until.seconds == int(clock.wall()) + 3600
        unknown = stub.AcknowledgeAlert(wire.AcknowledgeAlertRequest(fingerprint="0"), timeout=60)
        assert await unknown.code() is grpc.StatusCode.NOT_FOUND
        for_ever = wire.AcknowledgeAlertRequest(fingerprint=found["all"].fingerprint, silence_seconds=10**9)
        assert await stub.AcknowledgeAlert(for_ever, timeout=60).code() is grpc.StatusCode.INVALID_ARGUMENT
        await eventually(lambda: clock.sleepers == 5, 20, "it rests")
        await clock.advance(60)
        assert receiver.heard == [], "the only critical one is silenced"
        async with aiohttp.ClientSession() as session, session.get(f"http://{listen}/metrics") as page:
            text = await page.text()
        assert 'inferno_alerts{kind="node"} 2.0' in text
        assert 'inferno_budget_left_dollars{budget="all"} 0.0' in text


async def test_an_objective_that_burns_is_told_with_its_reason(sqlite_url: str, socket_dir: Path) -> None:
    clock = ManualClock()
    objectives = {"m": ObjectiveSettings(share=0.99, latency_ms=2)}
    async with governator(sqlite_url, socket_dir, clock=clock, objectives=objectives) as client:
        stub: Any = GovernanceServiceStub(client.channel)
        # Requests of 3 ms each, in the minute before.
        await client.store([batch(1, at=clock.wall(), requests=40, facts=FACTS)])

        async def burning() -> Any:
            found = (await stub.ListAlerts(wire.ListAlertsRequest(), timeout=60)).alerts
            return [each for each in found if each.kind == "objective"]

        await eventually(lambda: clock.sleepers == 4, 20, "it rests")
        await clock.advance(60)
        (alert,) = await eventually(burning, 20, "it burns")
        assert alert.subject == "model m"
        assert "40 of 40 requests took longer than 2 ms" in alert.cause
        (watch,) = (await stub.ListWatches(wire.ListWatchesRequest(), timeout=60)).watches
        assert [each.bad for each in watch.burn_rates] == [40, 40, 40]
        assert round(watch.burn_rates[0].long_rate) == 100


async def test_no_log_of_a_receiver_that_is_away_holds_what_is_secret_of_its_address(
    sqlite_url: str, socket_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = ManualClock()
    written: list[str] = []
    async with hook() as receiver:
        receiver.status = 404
        # It answers with its path, as many servers do; the other one cannot be reached.
        secret = f"{receiver.url}/T0sEcReT0?key=kEy0sEcReT"
        away = SecretStr("http://u:pAsSw0rD@127.0.0.1:1/T1sEcReT1")
        settled = {**webhook(secret), "gone": ReceiverSettings(kind="webhook", url=away, every_seconds=10)}
        async with governator(sqlite_url, socket_dir, clock=clock, budgets=BUDGETS, alerts=settled) as client:
            await client.store([batch(1, at=clock.wall(), facts=FACTS)])

            async def both() -> bool:
                if clock.sleepers == 6:
                    await clock.advance(10)
                written.append(capfd.readouterr().out)
                text = "".join(written)
                return "The receiver 'hook' does not take" in text and "The receiver 'gone' does not take" in text

            await eventually(both, 60, "both are asked in vain")
    text = "".join(written)
    assert "it answers 404 'not now: ***'" in text
    assert not [word for word in ("sEcReT", "pAsSw0rD", "kEy0") if word in text]


async def test_objectives_outlive_a_restart_and_those_of_the_settings_count_first(
    database_url: str, socket_dir: Path
) -> None:
    clock = ManualClock()
    settled = {"m": ObjectiveSettings(share=0.99, latency_ms=2)}

    async def listed(stub: Any) -> list[tuple[str, float, bool]]:
        found = (await stub.ListObjectives(wire.ListObjectivesRequest(), timeout=60)).objectives
        return [(each.model, each.share, each.in_settings) for each in found]

    def setting(model: str, share: float, **own: Any) -> wire.SetObjectiveRequest:
        return wire.SetObjectiveRequest(objective=Objective(model=model, share=share, **own))

    async with governator(database_url, socket_dir, clock=clock) as client:
        stub: Any = GovernanceServiceStub(client.channel)
        await client.store([batch(1, at=clock.wall(), requests=40, facts=FACTS)])
        for share in (0.5, 0.9):
            await stub.SetObjective(setting("m", share, latency_micros=2000), timeout=60)
        await stub.SetObjective(setting("other", 0.75), timeout=60)
        assert await listed(stub) == [("m", 0.9, False), ("other", 0.75, False)]

        async def burning() -> Any:
            found = (await stub.ListAlerts(wire.ListAlertsRequest(), timeout=60)).alerts
            return [each for each in found if each.kind == "objective"]

        await eventually(lambda: clock.sleepers == 4, 60, "it rests")
        await clock.advance(60)
        # All of 40 requests are bad: ten times what may be, and less than 14.4 times.
        assert [each.subject for each in await eventually(burning, 60, "six hours burn too fast")] == ["model m"]
        watches = (await stub.ListWatches(wire.ListWatchesRequest(), timeout=60)).watches
        assert [(each.model, each.burn_rates[0].bad) for each in watches] == [("m", 40), ("other", 0)]
        for call, code in (
            (stub.SetObjective(setting("m", 1.0)), grpc.StatusCode.INVALID_ARGUMENT),
            (stub.SetObjective(setting("", 0.5)), grpc.StatusCode.INVALID_ARGUMENT),
            (stub.SetObjective(setting("m", 0.5), metadata=NODE), grpc.StatusCode.PERMISSION_DENIED),
            (
                stub.DeleteObjective(wire.DeleteObjectiveRequest(model="m"), metadata=NODE),
                grpc.StatusCode.PERMISSION_DENIED,
            ),
            (stub.DeleteObjective(wire.DeleteObjectiveRequest(model="none")), grpc.StatusCode.NOT_FOUND),
        ):
            assert await call.code() is code
    async with governator(database_url, socket_dir, clock=clock, objectives=settled) as client:
        stub = GovernanceServiceStub(client.channel)
        assert await listed(stub) == [("m", 0.99, True), ("other", 0.75, False)]
        delete = wire.DeleteObjectiveRequest(model="m")
        for call in (stub.SetObjective(setting("m", 0.5)), stub.DeleteObjective(delete)):
            assert await call.code() is grpc.StatusCode.ALREADY_EXISTS
        await stub.DeleteObjective(wire.DeleteObjectiveRequest(model="other"), timeout=60)
        assert await listed(stub) == [("m", 0.99, True)]
    async with governator(database_url, socket_dir, clock=clock) as client:
        assert await listed(GovernanceServiceStub(client.channel)) == [("m", 0.9, False)], "the call's is still there"


async def test_a_real_alertmanager_knows_an_alert_while_it_lasts(
    sqlite_url: str, socket_dir: Path, tmp_path: Path, alertmanager_program: list[str]
) -> None:
    async with alertmanager(alertmanager_program, tmp_path) as url:
        settings: dict[str, Any] = {
            "budgets": BUDGETS,
            "watch_seconds": 0.2,
            "alerts": {"am": ReceiverSettings(kind="alertmanager", url=SecretStr(url), every_seconds=0.2)},
        }
        async with governator(sqlite_url, socket_dir, **settings) as client:
            await client.store([batch(1, facts=FACTS), batch(2)])
            (known,) = await eventually(lambda: known_alerts(url), 30, "Alertmanager knows it")
            assert known["labels"]["alertname"] == "InfernoBudget"
            assert known["labels"]["severity"] in ("critical", "warning", "info")
            assert known["annotations"]["next"] == "inferno budget ls"
            assert known["annotations"]["evidence_threshold"].endswith("%")


def inferno(endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "inferno_cli.main", *arguments, "--endpoint", endpoint, "--timeout", "30"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=50, check=False)


async def test_the_command_line_shows_alerts_and_silences_them(sqlite_url: str) -> None:
    async with governator_process(sqlite_url, "--watch-seconds", "0.2") as running:
        at = json.loads(running.facts)["address"]
        assert inferno(at, "watch", "alerts").stdout == "No alert lasts.\n"
        assert "inferno watch objective set" in inferno(at, "watch", "ls").stdout
        await running.client.store([batch(1, facts=FACTS, dropped=3)])

        async def shown() -> Any:
            return json.loads(inferno(at, "watch", "alerts", "-o", "json").stdout)

        (alert,) = await eventually(shown, 30, "the alert is shown")
        assert (alert["kind"], alert["subject"], alert["severity"]) == ("node", "node-1 dropped", "warning")
        done = inferno(at, "watch", "silence", alert["fingerprint"], "--for", "2h")
        assert done.returncode == 0
        assert "silent until" in done.stderr
        text = inferno(at, "watch", "alerts", "--all").stdout
        assert "WARNING node node-1 dropped  since" in text
        assert "silent until" in text
        assert inferno(at, "watch", "silence", "nothing").returncode == 1


async def test_alerts_are_followed_until_the_reader_has_enough(sqlite_url: str) -> None:
    async with governator_process(sqlite_url, "--watch-seconds", "0.2") as running:
        at = json.loads(running.facts)["address"]
        await running.client.store([batch(1, facts=FACTS, dropped=3)])
        argv = [sys.executable, "-m", "inferno_cli.main", "watch", "alerts", "--follow", "-o", "json", "--endpoint", at]
        follower = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert follower.stdout is not None
        try:
            async with asyncio.timeout(60):
                first = json.loads(await follower.stdout.readline())
                assert (first["subject"], first["severity"], first["ended_at"]) == ("node-1 dropped", "warning", None)
                # What begins while it looks.
                await running.client.store([batch(1, "node-2", facts=FACTS, dropped=5)])
                second = json.loads(await follower.stdout.readline())
                assert second["subject"] == "node-2 dropped"
                assert "dropped 5 samples" in second["cause"]
                follower.send_signal(signal.SIGINT)
                _, err = await follower.communicate()
        finally:
            if follower.returncode is None:
                follower.kill()
                await follower.wait()
        assert follower.returncode in (0, 130)
        assert b"Traceback" not in err


async def test_the_command_line_sets_shows_and_removes_objectives(sqlite_url: str) -> None:
    async with governator_process(sqlite_url, "--watch-seconds", "0.2") as running:
        at = json.loads(running.facts)["address"]

        def objective(*arguments: str) -> subprocess.CompletedProcess[str]:
            return inferno(at, "watch", "objective", *arguments)

        assert "watch objective set" in objective("ls").stdout
        done = objective("set", "llama", "--good", "99.9", "--within-ms", "2000", "--days", "28")
        assert (done.returncode, done.stderr) == (
            *(0, "Model llama: 99.9 % of its requests good within 2000 ms, over 28 d.\n"),
        )
        (shown,) = json.loads(objective("ls", "-o", "json").stdout)
        assert shown == {
            "model": "llama",
            "share": 0.999,
            "latency_micros": 2_000_000,
            "queue_micros": None,
            "days": 28,
            "in_settings": False,
        }
        assert "a call" in objective("ls").stdout

        async def watched() -> bool:
            return "llama" in inferno(at, "watch", "ls").stdout

        await eventually(watched, 60, "it is watched")
        for wrong in ("100", "0", "nan", "inf"):
            done = objective("set", "llama", "--good", wrong)
            assert done.returncode == 2
            assert "objective" in done.stderr
        assert objective("rm", "llama").returncode == 0
        assert "no objective of model 'llama'" in objective("rm", "llama").stderr
