"""The first moments of a Triton's life, until it answers; and the rhythm in which it is looked after."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from inferno_backend.triton.client import TritonClient
from inferno_backend.triton.server import Life
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError

_LOG = logs.get("supervisor")


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often and how long, in seconds.

    ``index``: between two looks at the models. ``probe``: between two questions, each allowed ``answer``. ``configs``:
    after which a model's configuration is read again. ``silent``: without an answer before Triton is killed;
    ``stopped``: the same while the kernel shows it stopped, which nothing of its own can end. ``start``: for a start.
    ``steady``: of service after which an earlier crash counts no more. ``page``: for the metrics page.
    """

    index: float = 0.1
    probe: float = 0.25
    answer: float = 0.3
    configs: float = 5.0
    silent: float = 10.0
    stopped: float = 1.0
    start: float = 600.0
    steady: float = 30.0
    page: float = 1.0
    progress: float = 5.0


async def first_answer(client: TritonClient, life: Life, clock: Clock, rhythm: Rhythm) -> None:
    """Wait until Triton answers: it does so only when every model has been loaded or has failed."""
    began = told = clock.monotonic()
    # One that a former agent has seen serve has loaded its models: it is silent, not slow.
    allowed = rhythm.silent if life.has_answered else rhythm.start
    while not await client.answers("", rhythm.page):
        now = clock.monotonic()
        if now - told >= rhythm.progress:
            told = now
            what = "triton does not answer yet: it loads its models" if life.pid else "no triton answers there yet"
            loading = ", ".join(sorted(life.loading))
            _LOG.info(what, at=client.address, seconds=round(now - began), loading=loading)
        if now - began > allowed:
            _LOG.error("triton did not get ready in time: it is ended", seconds=round(now - began))
            life.kill(f"it did not get ready within {allowed:g} s", late=not life.has_answered)
            await asyncio.Event().wait()  # for its end
        await clock.sleep(rhythm.index)


async def first_version(client: TritonClient, clock: Clock, rhythm: Rhythm) -> str:
    """Ask a Triton that answers for its version until it tells."""
    while True:
        try:
            return await client.server_version()
        except InfernoError:
            await clock.sleep(rhythm.index)
