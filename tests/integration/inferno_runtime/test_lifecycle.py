from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from inferno_runtime import lifecycle, process
from inferno_runtime.errors import Broken, InvalidInput, Unavailable
from inferno_runtime.lifecycle import Stop


async def test_a_stop_remembers_who_asked_first() -> None:
    stop = Stop()
    assert (stop.requested, stop.reason) == (False, "")
    stop.request("first")
    stop.request("second")
    await stop.wait()
    assert (stop.requested, stop.reason) == (True, "first")


def test_a_main_that_returns_ends_with_zero() -> None:
    async def main(stop: Stop) -> None:
        assert not stop.requested

    assert lifecycle.run(main) == 0


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_for_the_stop(signal_number: signal.Signals) -> None:
    reasons = []

    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), signal_number)
        await stop.wait()
        reasons.append(stop.reason)

    assert lifecycle.run(main) == 0
    assert reasons == [f"signal {signal_number.name}"]


def test_an_error_of_ours_becomes_a_sentence_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(stop: Stop) -> None:
        raise Unavailable("It is away.", reason="AWAY", fix="Call later.")

    assert lifecycle.run(main) == 4
    assert capsys.readouterr().err == "error[AWAY] It is away.\n  fix: Call later.\n"


def test_an_error_out_of_a_group_of_tasks_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail() -> None:
        raise InvalidInput("It is wrong.", reason="WRONG")

    async def main(stop: Stop) -> None:
        async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
            inner.create_task(fail())
            outer.create_task(asyncio.sleep(60))

    assert lifecycle.run(main) == 2
    assert capsys.readouterr().err == "error[WRONG] It is wrong.\n"


def test_a_defect_keeps_its_trace() -> None:
    async def main(stop: Stop) -> None:
        raise ExceptionGroup("both", [Broken("ours", reason="R"), ValueError("a defect")])

    with pytest.raises(ExceptionGroup, match="both"):
        lifecycle.run(main)


def test_a_group_without_ours_has_no_error_to_tell() -> None:
    assert lifecycle.first_inferno_error(ExceptionGroup("g", [ValueError()])) is None


async def test_a_second_ctrl_c_ends_the_process_at_once_and_a_second_sigterm_does_not() -> None:
    code = (
        "import asyncio\n"
        "from inferno_runtime import lifecycle\n"
        "async def main(stop):\n"
        "    print('up', flush=True)\n"
        "    await stop.wait()\n"
        "    print('stopping', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "raise SystemExit(lifecycle.run(main))\n"
    )
    child = await process.spawn([sys.executable, "-c", code], stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    assert await child.stdout.readline() == b"up\n"
    child.send_signal(signal.SIGTERM)
    assert await child.stdout.readline() == b"stopping\n"
    child.send_signal(signal.SIGTERM)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(child.wait(), 0.3)
    child.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(child.wait(), 10) == lifecycle.INTERRUPTED
