"""The governator as a whole: what it serves besides telemetry, how it starts, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from inferno_governator.app import SERVICE, check_listen
from inferno_governator.budgets.keeper import BudgetKeeper
from inferno_governator.caps import Caps
from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.decision_service import Deciding
from inferno_governator.decisions.mode import Mode, ModeKeeper
from inferno_governator.enacting.drains import Drains
from inferno_governator.forecast.keeper import ForecastKeeper
from inferno_governator.forecast.settings import ForecastSettings
from inferno_governator.governance_service import GovernanceService
from inferno_governator.intake import Intake
from inferno_governator.metrics import Metrics
from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.prices.rules import Rules
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_governator.watch.objective_keeper import ObjectiveKeeper
from inferno_governator.watch.watcher import Watcher
from inferno_runtime import process
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Broken, InfernoError, InvalidInput, Unavailable
from inferno_runtime.lifecycle import first_inferno_error
from tests.integration.inferno_governator.governators import governator, governator_process, served
from tests.integration.inferno_governator.nodes import FACTS, batch
from tests.integration.inferno_governator.other_process import locked
from tests.waiting import eventually

Health = health_pb2.HealthCheckResponse


async def test_it_is_healthy_by_name_until_it_stops(sqlite_url: str, socket_dir: Path) -> None:
    async with governator(sqlite_url, socket_dir) as client:
        stub: Any = health_pb2_grpc.HealthStub(client.channel)
        for name in ("", SERVICE):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == Health.SERVING
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == Health.SERVING
        client.stop()
        assert (await watch.read()).status == Health.NOT_SERVING


async def test_reflection_lists_what_it_serves(sqlite_url: str, socket_dir: Path) -> None:
    async with governator(sqlite_url, socket_dir) as client:
        make: Any = reflection_pb2_grpc.ServerReflectionStub
        call = make(client.channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        names = {each.name for each in (await call.read()).list_services_response.service}
        await call.done_writing()
        call.cancel()
    assert names == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_an_impossible_period_is_refused(sqlite_url: str, socket_dir: Path) -> None:
    async with governator(sqlite_url, socket_dir) as client:
        with pytest.raises(InvalidInput, match="ends before it begins"):
            await client.report(200, 100)


async def test_metrics_count_what_happens_to_telemetry(sqlite_url: str, socket_dir: Path) -> None:
    listen = f"127.0.0.1:{process.free_port()}"
    async with governator(sqlite_url, socket_dir, metrics_listen=listen) as client:
        await client.store([batch(1), batch(4, dropped=9)])
        await client.store([batch(4), batch(5)])
        async with aiohttp.ClientSession() as session, session.get(f"http://{listen}/metrics") as answer:
            page = await answer.text()
    lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert lines['inferno_telemetry_batches_total{outcome="stored"}'] == "3.0"
    assert lines['inferno_telemetry_batches_total{outcome="duplicate"}'] == "1.0"
    assert lines["inferno_telemetry_samples_total"] == "6.0"
    assert lines["inferno_telemetry_missing_batches_total"] == "2.0"
    assert lines["inferno_telemetry_dropped_samples_total"] == "9.0"
    assert lines["inferno_telemetry_queued_samples"] == "0.0"


async def failure(url: str, folder: Path, **settings: Any) -> InfernoError:
    with pytest.raises(ExceptionGroup) as failed:
        async with governator(url, folder, **settings):
            pass
    error = first_inferno_error(failed.value)
    assert error is not None
    return error


async def test_metrics_that_cannot_be_served_are_a_clear_error(sqlite_url: str, socket_dir: Path) -> None:
    error = await failure(sqlite_url, socket_dir, metrics_listen="192.0.2.1:9")
    assert isinstance(error, Unavailable)
    assert "Metrics cannot be served on 192.0.2.1:9" in str(error)


async def metric(listen: str, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"http://{listen}/metrics") as answer:
        page = await answer.text()
    return float(page.split(f"\n{name} ")[1].split()[0])


async def test_old_telemetry_is_forgotten_by_itself_also_after_a_database_that_was_away(
    sqlite_url: str, socket_dir: Path
) -> None:
    clock = ManualClock()
    listen = f"127.0.0.1:{process.free_port()}"

    async def forgotten() -> float:
        return await metric(listen, "inferno_store_forgotten_rows_total")

    async with governator(
        sqlite_url, socket_dir, clock=clock, metrics_listen=listen, retention_seconds=60, db_busy_seconds=0.05
    ) as client:
        await client.store([batch(1, at=clock.wall(), facts=FACTS)])
        clock.jump_wall(2 * 3600)
        async with locked(sqlite_url.removeprefix("sqlite:///")) as other:
            await eventually(lambda: clock.sleepers == 4, 20, "the next looks are planned")
            await clock.advance(60)
            await eventually(lambda: clock.sleepers == 4, 20, "it looked in vain")
            assert await forgotten() == 0
            other.execute("ROLLBACK")
        await clock.advance(60)
        await eventually(lambda: _is(forgotten, 2), 5, "the two samples are gone")


async def _is(ask: Callable[[], Awaitable[float]], value: float) -> bool:
    return await ask() == value


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.0.0.9:8090", "[::1]:8090", "localhost:1", "unix:/x"])
def test_addresses_of_this_machine_alone_need_no_leave(listen: str) -> None:
    check_listen(listen, insecure=False)


@pytest.mark.parametrize("listen", ["0.0.0.0:8090", "[::]:0", "10.0.0.7:8090", "governator.example:8090"])
def test_an_address_that_others_can_reach_needs_leave(listen: str) -> None:
    check_listen(listen, insecure=True)
    with pytest.raises(InvalidInput, match="other machines"):
        check_listen(listen, insecure=False)


def test_an_address_without_a_port_is_no_address() -> None:
    with pytest.raises(InvalidInput, match="neither HOST:PORT nor unix:/PATH"):
        check_listen("localhost", insecure=False)


@pytest.mark.parametrize("received", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order_once_what_it_took_is_stored(sqlite_url: str, received: signal.Signals) -> None:
    async with governator_process(sqlite_url) as running:
        assert json.loads(running.facts)["db"] == sqlite_url.removeprefix("sqlite:///")
        async with running.client.stream() as stream:
            await stream.send(batch(1))
            await stream.acknowledged(1)
            running.process.send_signal(received)
            with pytest.raises(Unavailable, match="stopping"):
                await stream.rest()
        async with asyncio.timeout(60):
            assert await running.process.wait() == 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "inferno_governator.cli", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_that_is_taken_is_named_with_who_has_it(sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--db", sqlite_url, "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 4
    assert f"127.0.0.1:{port} is used by pid" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_database_ends_it_with_one_sentence(tmp_path: Path) -> None:
    done = run("--db", "oracle://x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error[BAD_DATABASE_URL] 'oracle'")


def test_an_unknown_key_in_the_configuration_is_named_with_its_line(tmp_path: Path) -> None:
    config = tmp_path / "inferno.yaml"
    config.write_text("governator:\n  lissten: 127.0.0.1:0\n")
    done = run("--config", str(config))
    assert done.returncode == 2
    assert f"{config}:2" in done.stderr
    assert "'listen'" in done.stderr


def test_help_names_every_setting() -> None:
    done = run("--help")
    assert done.returncode == 0
    for flag in ("--db", "--listen", "--metrics-listen", "--queue-samples", "--config"):
        assert flag in done.stdout


async def test_a_database_that_stays_locked_does_not_keep_it_from_ending(sqlite_url: str, socket_dir: Path) -> None:
    listen, path = f"127.0.0.1:{process.free_port()}", sqlite_url.removeprefix("sqlite:///")

    async def queued() -> float:
        return await metric(listen, "inferno_telemetry_queued_samples")

    settings: dict[str, Any] = {"db_busy_seconds": 3, "shutdown_seconds": 0.1, "metrics_listen": listen}
    async with AsyncExitStack() as held, governator(sqlite_url, socket_dir, **settings) as client:
        # Given back only after the governator has ended.
        await held.enter_async_context(locked(path))
        async with client.stream() as stream:
            await stream.send(batch(1))
            await eventually(lambda: _is(queued, 10), 5, "the batch waits to be stored")
            client.stop()
            # It was cut off, so the node keeps the batch: nothing was acknowledged.
            with pytest.raises(InfernoError) as cut_off:
                await stream.rest()
            assert cut_off.value.temporary
    async with governator(sqlite_url, socket_dir) as client:
        assert await client.requests() == 0


async def test_a_database_that_refuses_our_statements_ends_it_with_the_reason(
    sqlite_url: str, socket_dir: Path
) -> None:
    clock = ManualClock()

    async def lose_a_table() -> None:
        async with governator(sqlite_url, socket_dir, clock=clock) as client:
            await eventually(lambda: clock.sleepers == 4, 20, "the next looks are planned")
            async with locked(sqlite_url.removeprefix("sqlite:///")) as other:
                other.execute("DROP TABLE device_minute")
                other.execute("COMMIT")
            await clock.advance(60)
            await client.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)

    with pytest.raises(ExceptionGroup) as failed:
        await lose_a_table()
    error = first_inferno_error(failed.value)
    assert isinstance(error, Broken)
    assert "device_minute" in str(error)


async def test_a_stream_that_begins_while_it_stops_is_refused(sqlite_url: str, socket_dir: Path) -> None:
    clock = ManualClock()
    metrics = Metrics()
    async with Store(parse_database(sqlite_url), clock) as store:
        budgets = BudgetKeeper(store, clock, ())
        watcher = Watcher(store, clock, metrics, budgets, ObjectiveKeeper(store, ()), 60)
        intake = Intake(store.commit, 1000, clock, metrics)
        book = DecisionBook(store, clock)
        deciding = Deciding(
            book,
            ModeKeeper(book, Mode.OBSERVE),
            Drains(clock),
            Caps(),
            {},
            ForecastKeeper(store, clock, ForecastSettings()),
        )
        service = GovernanceService(
            store, intake, clock, metrics, budgets, watcher, PriceKeeper(store, clock, Rules()), deciding
        )
        async with service, served(service, socket_dir) as client:
            service.stop()
            async with client.stream() as stream:
                with pytest.raises(Unavailable, match="stopping"):
                    await stream.rest()


async def test_its_socket_is_gone_when_it_has_ended(sqlite_url: str, socket_dir: Path) -> None:
    async with governator(sqlite_url, socket_dir) as client:
        await client.report()
        assert (socket_dir / "governator").exists()
    assert list(socket_dir.iterdir()) == []
