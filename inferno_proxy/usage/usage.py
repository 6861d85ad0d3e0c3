"""What callers asked, from this machine's Envoys to the governator."""

from __future__ import annotations

import asyncio
import re
import socket
from types import TracebackType
from typing import Self

from inferno_proxy.fleet import Address, FleetView
from inferno_proxy.publishing.publisher import Recipe
from inferno_proxy.supervisor.layout import Layout
from inferno_proxy.usage.book import Book
from inferno_proxy.usage.counts import Who
from inferno_proxy.usage.ledger import Named
from inferno_proxy.usage.naming import named
from inferno_proxy.usage.reading import Reading
from inferno_proxy.usage.sending import Sending
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

# Seconds that the end may take to hand in what is known.
_LAST = 1.0


class Usage:
    """An async context manager: it reads, keeps and sends from entering on, and once more, with haste, at the end.

    ``governator`` is what gRPC dials; empty: there is nobody to tell, and nothing is done.
    """

    def __init__(
        self,
        layout: Layout,
        view: Latest[FleetView],
        recipes: Latest[Recipe],
        governator: str,
        listen: Address,
        clock: Clock,
    ) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._book = Book(layout.usage)

        def name(who: Who) -> Named:
            return named(who, view.value, {each.name: each for each in recipes.value.resources.clients})

        self._reading = Reading(layout.directory, self._book, name, clock)
        self._sending = None
        if governator:
            self._sending = Sending(governator, sender(listen), self._book, self._reading.turns, clock)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        if self._sending is not None:
            self._tasks = [
                self._group.create_task(self._reading.run(), name="usage-reading"),
                self._group.create_task(self._sending.run(), name="usage-sending"),
            ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sending is not None and error is None:
            await self._reading.turn()
            try:
                async with asyncio.timeout(_LAST):
                    await self._sending.flushed()
            except TimeoutError:
                pass  # It is on disk, and the next life of this proxy sends it.
        for each in self._tasks:
            each.cancel()
        await self._group.__aexit__(kind, error, trace)


def sender(listen: Address) -> str:
    """This proxy's name in telemetry.

    >>> sender(Address("::1", 8080)).startswith("proxy."), sender(Address("::1", 8080)).endswith(".8080")
    (True, True)
    """
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100]
    return f"proxy.{host}.{listen.port}"
