"""Work in the background returns, raises, and holds no shutdown up."""

from __future__ import annotations

import asyncio
import sys

import pytest

from inferno_runtime import process
from inferno_runtime.background import in_background


async def test_it_gives_what_the_work_returns_or_raises() -> None:
    assert await in_background(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_background(lambda: 1 // 0)


async def test_a_process_that_is_asked_to_end_does_not_wait_for_it() -> None:
    code = (
        "import asyncio, threading\n"
        "from inferno_runtime import lifecycle\n"
        "from inferno_runtime.background import in_background\n"
        "async def main(stop):\n"
        "    work = asyncio.create_task(in_background(threading.Event().wait))\n"
        "    print('up', flush=True)\n"
        "    await stop.wait()\n"
        "    work.cancel()\n"
        "raise SystemExit(lifecycle.run(main))\n"
    )
    child = await process.spawn([sys.executable, "-c", code], stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    assert await child.stdout.readline() == b"up\n"
    child.terminate()
    async with asyncio.timeout(60):
        assert await child.wait() == 0
