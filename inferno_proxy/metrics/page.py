"""The page at ``/metrics``: the control plane's figures, and those its Envoys show on their admin sockets.

Envoys are asked when somebody asks for the page. Reading and writing what they say, megabytes with thousands of models,
is left to a thread.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import prometheus_client
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from inferno_proxy.envoy import admin
from inferno_proxy.envoy.bootstrap import LAST_FIGURES
from inferno_proxy.fleet import FleetView
from inferno_proxy.metrics.account import Account
from inferno_proxy.metrics.exposition import exposition
from inferno_proxy.metrics.translation import ENVOYS, PATH, Key, Translator
from inferno_proxy.supervisor.layout import Layout
from inferno_runtime import logs
from inferno_runtime.errors import Unavailable
from inferno_runtime.latest import Latest

_LOG = logs.get("metrics")
# Seconds an Envoy may take to answer. With 1,000 models it takes a tenth of that.
_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class _Read:
    """Metrics as they were, in the form of a registry."""

    metrics: list[Metric]

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self.metrics


class MetricsPage:
    """``own`` are the control plane's collectors; ``layout`` says where the Envoys' sockets lie and where to keep what
    ended ones had counted."""

    def __init__(self, own: Iterable[Collector], view: Latest[FleetView], layout: Layout) -> None:
        self._own = prometheus_client.CollectorRegistry()
        for each in (*own, prometheus_client.ProcessCollector(registry=None)):
            self._own.register(each)
        self._view = view
        self._folder = layout.directory
        self._kept = layout.figures
        self._translator = Translator()
        self._account: Account | None = None
        self._reading = asyncio.Lock()

    async def text(self) -> bytes:
        """The page now. An Envoy that does not answer counts with what it said last."""
        # Read here, where nothing changes meanwhile, and written in the thread.
        own = _Read(list(self._own.collect()))
        models = self._view.value.models
        async with self._reading:
            sockets = sorted(self._folder.glob("*-admin-*.sock"))
            pages = await asyncio.gather(*map(_ask, sockets))
            heard = {socket.stem: page for socket, page in zip(sockets, pages, strict=True)}
            return await asyncio.to_thread(self._written, own, heard, models)

    async def run(self) -> None:
        """Write down what is known when this is cancelled, for the control plane that comes next."""
        try:
            await asyncio.Event().wait()
        finally:
            if self._account is not None:
                await asyncio.to_thread(self._write, self._account)

    def _written(self, own: _Read, heard: Mapping[str, str | None], models: frozenset[str]) -> bytes:
        return prometheus_client.generate_latest(own) + self._digest(heard, models)

    def _digest(self, heard: Mapping[str, str | None], models: frozenset[str]) -> bytes:
        account = self._account = self._account or self._remembered()
        self._translator.know(models)
        for life, page in heard.items():
            if page is not None:
                account.take(life, self._translator.read(page))
        self._settle(account, heard.keys())
        silent = sum(page is None for page in heard.values())
        states = {
            Key(ENVOYS, ("answering",)): float(len(heard) - silent),
            Key(ENVOYS, ("silent",)): float(silent),
        }
        return exposition({**account.totals(), **states}, models).encode()

    def _settle(self, account: Account, here: Iterable[str]) -> None:
        """Count those that are gone as ended, by their last word if they left one."""
        last = {path.stem: path for path in self._folder.glob(f"*-admin-*{LAST_FIGURES}")}
        gone = (last.keys() | account.living) - set(here)
        for life in gone:
            if life in last:
                account.take(life, self._translator.read(last[life].read_text(encoding="utf-8")))
            account.end(life)
        if gone:
            self._write(account)
        for life in gone & last.keys():
            last[life].unlink()

    def _remembered(self) -> Account:
        try:
            return Account.read(json.loads(self._kept.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Account()
        except (OSError, ValueError, TypeError, KeyError) as error:
            _LOG.warning("figures of ended envoys are lost", path=str(self._kept), reason=str(error))
            return Account()

    def _write(self, account: Account) -> None:
        fresh = self._kept.with_suffix(".new")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(account.written(), file)
            fresh.replace(self._kept)
        except OSError as error:
            _LOG.error("figures not kept", path=str(self._kept), reason=error.strerror)


async def _ask(socket: Path) -> str | None:
    try:
        return (await admin.call(socket, PATH, within=_PATIENCE))[1]
    except Unavailable:
        return None
