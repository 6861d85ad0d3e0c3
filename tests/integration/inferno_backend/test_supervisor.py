"""The supervisor's rarer moments, with a Triton that does what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from inferno_backend.liveness import Patience
from inferno_backend.meter import Reading
from inferno_backend.node import Condition, ModelState
from inferno_backend.start import Rhythm
from inferno_backend.supervisor import Supervisor
from inferno_backend.triton.metrics_page import Counters
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import InfernoError, NotFound, Unavailable
from inferno_runtime.process import free_port
from tests.integration.inferno_backend.triton import FakeLife, FakeServer, StandIn, serving
from tests.waiting import eventually

# Everything is looked at ten times as often as in a node, and nobody is given up because this machine is busy.
FAST = Rhythm(index=0.01, probe=0.02, answer=0.3, configs=0.05, silent=10, start=30, steady=30, progress=0.1)
# For those who are to be given up.
STRICT = replace(FAST, silent=0.3)


async def nothing() -> None:
    """No counters to read first."""


@asynccontextmanager
async def supervising(server: FakeServer, rhythm: Rhythm = FAST) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(server, SystemClock(), healing=True, patience=Patience(), rhythm=rhythm)
    running = asyncio.create_task(supervisor.run(nothing))
    try:
        yield supervisor
    finally:
        await supervisor.stop()
        running.cancel()
        with suppress(asyncio.CancelledError, InfernoError):
            await running


async def again(stand_in: StandIn, method: str) -> None:
    """Wait until the stand-in has been asked twice more."""
    before = stand_in.asked[method]
    await eventually(lambda: stand_in.asked[method] >= before + 2, 5, f"{method} is asked again")


async def condition(supervisor: Supervisor, wanted: Condition) -> str:
    async with asyncio.timeout(60):
        revised = await supervisor.state.wait_for(lambda one: one.state.condition is wanted)
    return revised.state.reason


async def test_a_start_that_fails_first_and_works_then_is_a_start() -> None:
    async with serving(StandIn(m="READY")) as address:
        short = FakeLife(address)
        short.end("The port was taken.")
        async with supervising(FakeServer(short, FakeLife(address))) as supervisor:
            assert await condition(supervisor, Condition.SERVING) == ""
            assert supervisor.triton_pid == 4711


async def test_a_server_that_cannot_be_started_again_is_tried_until_it_can() -> None:
    async with serving(StandIn(m="READY")) as address:
        first = FakeLife(address)
        failure = Unavailable("The disk is full.", reason="FULL")
        async with supervising(FakeServer(first, failure, failure, FakeLife(address))) as supervisor:
            await condition(supervisor, Condition.SERVING)
            first.end("Triton was killed by SIGSEGV.")
            async with asyncio.timeout(60):
                await supervisor.state.wait_for(lambda one: "The disk is full." in one.state.reason)
            await condition(supervisor, Condition.SERVING)


async def test_a_crash_loop_is_counted_in_the_reason() -> None:
    async with serving(StandIn(m="READY")) as address:
        lives = [FakeLife(address) for _ in range(4)]
        async with supervising(FakeServer(*lives)) as supervisor:
            for life in lives[:3]:
                await condition(supervisor, Condition.SERVING)
                life.end("Triton was killed by SIGSEGV.")
                await condition(supervisor, Condition.FAILED)
            async with asyncio.timeout(60):
                await supervisor.state.wait_for(lambda one: "Crash loop: it has ended 3 times" in one.state.reason)
            await condition(supervisor, Condition.SERVING)


async def test_a_steady_life_is_forgiven_its_end() -> None:
    async with serving(StandIn(m="READY")) as address:
        lives = [FakeLife(address) for _ in range(5)]
        rhythm = Rhythm(index=0.01, probe=0.02, steady=0)
        async with supervising(FakeServer(*lives), rhythm) as supervisor:
            with capture_logs() as told:
                for life in lives[:4]:
                    await condition(supervisor, Condition.SERVING)
                    life.end("It ended.")
                    await condition(supervisor, Condition.FAILED)
                await condition(supervisor, Condition.SERVING)
        again = [line for line in told if line["event"] == "triton is started again"]
        assert len(again) == 4
        assert max(line["after_seconds"] for line in again) < 0.2


async def test_one_that_was_taken_over_and_does_not_answer_is_ended() -> None:
    async with serving(StandIn(m="READY")) as address:
        # Looked for when the other one has its own.
        silent = FakeLife(f"127.0.0.1:{free_port()}", has_answered=True)
        with capture_logs() as told:
            async with supervising(FakeServer(silent, FakeLife(address)), STRICT) as supervisor:
                await condition(supervisor, Condition.SERVING)
        events = [line["event"] for line in told]
        assert "triton does not answer yet: it loads its models" in events
        assert "triton did not get ready in time: it is ended" in events


async def test_one_that_falls_silent_is_told_and_then_killed() -> None:
    stand_in = StandIn(m="READY")
    async with serving(stand_in) as address:
        life = FakeLife(address)
        async with supervising(FakeServer(life, FakeLife(address)), STRICT) as supervisor:
            await condition(supervisor, Condition.SERVING)
            stand_in.failing = {"ModelReady", "ServerLive"}
            assert "does not answer" in await condition(supervisor, Condition.FAILED)
            await life.gone()
            assert life.cause == "It was killed."
            stand_in.failing.clear()
            await condition(supervisor, Condition.SERVING)


async def test_a_server_that_answers_little_by_little_is_waited_for() -> None:
    stand_in = StandIn(m="READY", late="READY")
    stand_in.failing = {"ServerMetadata", "RepositoryIndex", "ModelConfig"}
    async with serving(stand_in) as address, supervising(FakeServer(FakeLife(address))) as supervisor:
        for method in ("ServerMetadata", "RepositoryIndex"):
            await again(stand_in, method)
            assert supervisor.state.value.revision == 0
            stand_in.failing.remove(method)
        await condition(supervisor, Condition.SERVING)
        assert supervisor.state.value.state.models == (), "whether they are stateful is not known yet"
        stand_in.failing.clear()
        async with asyncio.timeout(60):
            await supervisor.state.wait_for(lambda one: len(one.state.models) == 2)


async def test_a_look_that_fails_changes_nothing_and_configurations_are_read_again() -> None:
    stand_in = StandIn(m="READY")
    async with serving(stand_in) as address, supervising(FakeServer(FakeLife(address))) as supervisor:
        await condition(supervisor, Condition.SERVING)
        await again(stand_in, "ModelConfig")
        stand_in.failing = {"RepositoryIndex"}
        before = supervisor.state.value
        stand_in.models["n"] = "READY"
        await again(stand_in, "RepositoryIndex")
        assert supervisor.state.value == before
        stand_in.failing.clear()
        async with asyncio.timeout(60):
            await supervisor.state.wait_for(lambda one: len(one.state.models) == 2)


async def test_a_model_that_fails_later_is_told_once() -> None:
    stand_in = StandIn(m="READY", other="READY")
    async with serving(stand_in) as address, supervising(FakeServer(FakeLife(address))) as supervisor:
        await condition(supervisor, Condition.SERVING)
        with capture_logs() as told:
            stand_in.models["other"] = "UNAVAILABLE"
            async with asyncio.timeout(60):
                await supervisor.state.wait_for(lambda one: not all(model.ready for model in one.state.models))
            await again(stand_in, "RepositoryIndex")
        failures = [line for line in told if line["event"] == "a model cannot serve"]
        assert [(line["model"], line["reason"]) for line in failures] == [("other", "no weights")]


async def test_a_decoupled_model_whose_streams_are_out_of_sight_never_counts_as_stalled() -> None:
    async with (
        serving(StandIn(m="READY", decoupled="READY")) as address,
        supervising(FakeServer(FakeLife(address))) as supervisor,
    ):
        await condition(supervisor, Condition.SERVING)
        for at, pending in ((0.0, 0), (10.0, 3), (100.0, 3)):
            work = Counters(success=5, pending=pending)
            supervisor.take(Reading(at, at, {("m", "1"): work, ("decoupled", "1"): work}))
        states = {model.name: model.versions[0].state for model in supervisor.state.value.state.models}
        assert states == {"m": ModelState.UNAVAILABLE, "decoupled": ModelState.READY}


async def test_an_unload_waits_until_the_model_is_gone_and_one_that_fails_offers_it_again() -> None:
    stand_in, server = StandIn(m="READY"), FakeServer()
    async with serving(stand_in) as address:
        server = FakeServer(FakeLife(address))
        async with supervising(server) as supervisor:
            await condition(supervisor, Condition.SERVING)
            revision = supervisor.withdraw("m")
            assert supervisor.state.value.revision == revision
            assert supervisor.state.value.state.models[0].versions[0].state is ModelState.UNLOADING
            stand_in.failing = {"RepositoryModelUnload"}
            with pytest.raises(Unavailable):
                await supervisor.unload("m")
            assert supervisor.state.value.state.models[0].ready
            stand_in.failing.clear()
            supervisor.withdraw("m")
            await supervisor.unload("m")
            assert server.kept == {"m": False}
            assert not supervisor.state.value.state.models[0].ready


async def test_wishes_for_a_server_that_is_not_running_are_refused() -> None:
    supervisor = Supervisor(FakeServer(), SystemClock(), healing=True, patience=Patience(), rhythm=FAST)
    for wish in (supervisor.load("m"), supervisor.unload("m")):
        with pytest.raises(Unavailable, match="not running"):
            await wish
    with pytest.raises(Unavailable):
        await supervisor.counters()
    supervisor.kill()
    await supervisor.stop()
    assert supervisor.triton_pid == 0


async def test_a_first_start_that_fails_ends_with_its_reason() -> None:
    failure = NotFound("No tritonserver is installed.", reason="NO_TRITON")
    supervisor = Supervisor(FakeServer(failure), SystemClock(), healing=True, patience=Patience(), rhythm=FAST)
    with pytest.raises(NotFound, match="No tritonserver"):
        await supervisor.run(nothing)


async def test_a_stop_during_a_start_ends_what_was_started() -> None:
    starting, go_on = asyncio.Event(), asyncio.Event()
    life = FakeLife(f"127.0.0.1:{free_port()}")

    async def slow() -> FakeLife:
        starting.set()
        await go_on.wait()
        return life

    supervisor = Supervisor(FakeServer(slow), SystemClock(), healing=True, patience=Patience(), rhythm=FAST)
    running = asyncio.create_task(supervisor.run(nothing))
    await starting.wait()
    await supervisor.stop()
    go_on.set()
    async with asyncio.timeout(60):
        await running
    assert life.cause == "It was stopped."


async def test_a_killed_one_is_started_again() -> None:
    async with serving(StandIn(m="READY")) as address:
        life = FakeLife(address)
        async with supervising(FakeServer(life, FakeLife(address))) as supervisor:
            await condition(supervisor, Condition.SERVING)
            supervisor.kill()
            await life.gone()
            assert life.cause == "It was killed."
            await condition(supervisor, Condition.SERVING)


def reason_of(supervisor: Supervisor, model: str) -> str:
    (found,) = (one for one in supervisor.state.value.state.models if one.name == model)
    return found.versions[0].reason


async def test_a_model_whose_process_has_died_is_tried_until_it_can_be_loaded_again() -> None:
    stand_in = StandIn(m="READY", other="READY")
    async with serving(stand_in) as address:
        life = FakeLife(address)
        async with supervising(FakeServer(life)) as supervisor:
            await condition(supervisor, Condition.SERVING)
            stand_in.failing = {"RepositoryModelLoad"}
            life.dead["m"] = "The process of m_0_0 was killed by SIGKILL."
            await eventually(
                lambda: "could not be loaded again: Not now." in reason_of(supervisor, "m"), 5, "it is told"
            )
            assert "The process of m_0_0 was killed by SIGKILL." in reason_of(supervisor, "m")
            stand_in.failing.clear()
            await eventually(lambda: all(one.ready for one in supervisor.state.value.state.models), 5, "it is back")
            assert reason_of(supervisor, "m") == ""


async def test_a_model_whose_process_has_died_and_that_is_unloaded_then_stays_unloaded() -> None:
    stand_in = StandIn(m="READY")
    async with serving(stand_in) as address:
        life = FakeLife(address)
        async with supervising(FakeServer(life)) as supervisor:
            await condition(supervisor, Condition.SERVING)
            stand_in.failing = {"RepositoryModelUnload"}
            life.dead["m"] = "The process of m_0_0 was killed by SIGKILL."
            await again(stand_in, "RepositoryModelUnload")
            stand_in.failing.clear()
            await supervisor.unload("m")
            await again(stand_in, "RepositoryIndex")
            assert not stand_in.asked["RepositoryModelLoad"]


async def test_a_model_that_is_not_there_is_told_to_whoever_asked_for_it_and_then_forgotten() -> None:
    stand_in = StandIn(m="READY")
    async with serving(stand_in) as address, supervising(FakeServer(FakeLife(address))) as supervisor:
        await condition(supervisor, Condition.SERVING)
        stand_in.failing = {"RepositoryModelLoad"}
        with pytest.raises(Unavailable):
            await supervisor.load("nothing")
        assert reason_of(supervisor, "nothing") == "Not now."
        with pytest.raises(Unavailable):
            await supervisor.load("m")
        async with asyncio.timeout(60):
            await supervisor.state.wait_for(lambda one: [model.name for model in one.state.models] == ["m"])
        assert "To load it again failed: Not now." in reason_of(supervisor, "m"), "that one is still so"
