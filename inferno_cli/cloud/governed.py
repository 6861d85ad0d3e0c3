"""Nodes of ``inferno up`` that the governator starts and stops: the pool it is given, the first of them, and the end.

They are processes of the provider ``local``. The first ones are started here, so that nobody waits for a decision; the
governator finds them in the folder as it finds its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from inferno_cli.cloud import sentence
from inferno_cli.cloud.components import Governed, Wanted, governed_config
from inferno_governator.pools.pool import Pool
from inferno_governator.pools.settings import PoolSettings
from inferno_governator.providers.local import Local, Terms
from inferno_governator.providers.provider import MachineState
from inferno_runtime import settings
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError

POOL = "local"
# What a Triton with a small model takes on one machine, until it has been measured.
_BOOT_SECONDS = 10.0
_POLL_SECONDS = 0.2
_LAST_SECONDS = 0.5


def written(wanted: Wanted, governed: Governed) -> Pool:
    """Write the governator's settings file: the user's own, and the pool; return the pool.

    What the user's file says of ``pools.local`` holds, but for what the command line decides.
    """
    found = dict(settings.read_file(wanted.config)) if wanted.config is not None else {}
    section = dict(found.get("governator") or {})
    pools = dict(section.get("pools") or {})
    pools[POOL] = _pool(wanted, governed, dict(pools.get(POOL) or {}))
    document = {**found, "governator": {**section, "pools": pools}}
    file = governed_config(wanted.folder)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    # JSON is YAML.
    file.write_text(json.dumps(document, indent=1, default=str), encoding="utf-8")
    return PoolSettings.model_validate(pools[POOL]).pool(POOL)


def _pool(wanted: Wanted, governed: Governed, said: dict[str, Any]) -> dict[str, Any]:
    options = {
        "discovery_lb": wanted.endpoint,
        "model_repository": str(wanted.model_repository),
        **({"config": str(wanted.config)} if wanted.config is not None else {}),
        **(said.get("options") or {}),
    }
    return {
        "boot_seconds": _BOOT_SECONDS,
        "act": True,
        **said,
        "provider": "local",
        "models": list(governed.models),
        "min": wanted.nodes,
        "max": governed.maximum,
        "options": options,
    }


class GovernedNodes:
    """The processes. ``leash`` is what the governator's own nodes hang on, as these do."""

    def __init__(self, wanted: Wanted, pool: Pool, clock: Clock) -> None:
        self.leash, self._held = os.pipe()
        self._names = wanted.names
        self._pool = pool
        self._clock = clock
        self._local = Local((pool,), Terms(wanted.folder.of("nodes"), self.leash), clock)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """End what an ``inferno up`` that was killed has left, and let go of the leash in the end."""
        try:
            await self._local.end(_BOOT_SECONDS)
            yield
        finally:
            # What was asked for while the end began hangs on the leash, too.
            await self.end(_LAST_SECONDS)
            os.close(self.leash)

    async def start(self) -> None:
        """Start the first ones.

        Raises:
            InfernoError: One cannot be started.
        """
        for name in self._names:
            await self._local.start(name, self._pool)

    async def watch(self) -> None:
        """Wait for one of the first ones to end by itself, for ever.

        Raises:
            InfernoError: One has; in its own words.
        """
        while True:
            for each in await self._local.nodes():
                if each.node in self._names and each.state is MachineState.STOPPED:
                    raise self._failure(each.node)
            await self._clock.sleep(_POLL_SECONDS)

    def _failure(self, node: str) -> InfernoError:
        log = self._local.log(node)
        status = json.loads(log.with_name("process.json").read_text(encoding="utf-8")).get("exit", -9)
        return sentence.failure(node, status, log)

    async def facts(self) -> Sequence[Mapping[str, Any]]:
        """Each node and its process, as they are now."""
        return [{"id": each.node, "pid": int(each.machine or 0)} for each in await self._local.nodes()]

    async def end(self, within: float) -> Sequence[str]:
        """End all nodes, and those that somebody starts from now on; returns those that had to be killed."""
        self._let_go()
        return await self._local.end(within)

    def _let_go(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
