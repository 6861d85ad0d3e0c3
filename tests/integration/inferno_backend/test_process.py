"""A Triton's life under guard, with a program in Triton's place."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inferno_backend.guarded import Command, Terms
from inferno_backend.node import Endpoints
from inferno_backend.triton.command import Ports
from inferno_backend.triton.installation import Installation
from inferno_backend.triton.process import Place, TritonProcess
from inferno_backend.triton.repository import Repository
from inferno_backend.triton.server import AttachedLife, AttachedServer, OwnServer
from inferno_runtime.errors import Unavailable
from inferno_runtime.process import free_port

PORTS = Ports("127.0.0.1", 1, 2, 3)
SLEEPER = Command((sys.executable, "-c", "import time; time.sleep(60)"), dict(os.environ))


async def launch(place: Place, command: Command = SLEEPER, prefix: str = "process-test-") -> TritonProcess:
    place.folder.mkdir(exist_ok=True)
    return await TritonProcess.launch(command, place, Terms("p", 2, shm_prefix=prefix), PORTS)


async def test_a_guard_that_cannot_write_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "status.json.new").mkdir()
    with pytest.raises(Unavailable, match=r"guard of .* ended at once with status 1") as failed:
        await launch(place)
    assert str(place.log) in failed.value.fix


async def test_a_life_is_ended_twice_as_well_as_once_and_its_log_kept_for_one_more(tmp_path: Path) -> None:
    place = Place(tmp_path)
    first = await launch(place, Command((sys.executable, "-c", "print('first')"), dict(os.environ)))
    assert await first.ended() == 0
    first.kill()
    second = await launch(place)
    await second.stop()
    await second.stop()
    assert await second.ended() == -signal.SIGTERM
    assert place.log.with_suffix(".log.1").read_text() == "first\n"


async def test_nothing_is_adopted_where_nothing_ran_or_what_ran_has_ended(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert await TritonProcess.adopt(place, "p") is None
    life = await launch(place)
    await life.stop()
    assert await TritonProcess.adopt(place, "p") is None
    place.status.write_text("[1]")
    assert await TritonProcess.adopt(place, "p") is None


async def test_the_same_one_is_adopted_with_what_is_known_of_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    life = await launch(place)
    life.note_service()
    adopted = await TritonProcess.adopt(place, "p")
    assert adopted is not None
    assert (adopted.pid, adopted.ports, adopted.has_served()) == (life.pid, PORTS, True)
    await adopted.stop()
    assert await life.ended() == -signal.SIGTERM


async def test_another_one_has_not_served(tmp_path: Path) -> None:
    place = Place(tmp_path)
    first = await launch(place)
    first.note_service()
    await first.stop()
    second = await launch(place)
    assert not second.has_served()
    await second.stop()


@asynccontextmanager
async def own_server(tmp_path: Path, ports: Ports) -> AsyncIterator[OwnServer]:
    program = tmp_path / "tritonserver"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    yield OwnServer(
        Installation(program),
        Place(tmp_path / "triton"),
        Repository(tmp_path, ("m",), {}),
        ("m",),
        wanted_ports=ports,
        env=os.environ,
        leash_fd=-1,
        drain_timeout=1,
    )


async def test_ports_are_kept_over_lives_unless_somebody_took_them(tmp_path: Path) -> None:
    wanted = free_port()
    async with own_server(tmp_path, Ports("127.0.0.1", wanted, 0, 0)) as server:
        first = await server.start()
        await first.stop()
        second = await server.start()
        assert second.endpoints == first.endpoints
        assert second.endpoints.grpc == f"127.0.0.1:{wanted}"
        assert len(set(vars_of(second.endpoints))) == 3
        await second.stop()
        taken = int(first.endpoints.http.rpartition(":")[2])
        async with listening(taken):
            third = await server.start()
            assert third.endpoints.http != first.endpoints.http
            assert third.endpoints.metrics == first.endpoints.metrics
            await third.stop()


def vars_of(endpoints: Endpoints) -> tuple[str, str, str]:
    return endpoints.grpc, endpoints.http, endpoints.metrics


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with server:
        yield


async def test_an_attached_triton_is_neither_killed_nor_stopped() -> None:
    server = AttachedServer(Endpoints("h:1"))
    server.keep("m", loaded=True)
    life = await server.start()
    assert isinstance(life, AttachedLife)
    life.kill()
    life.note_answer()
    await life.stop()
    assert not life.has_answered
    assert life.pid == 0
