"""Read every Envoy of this machine again and again, and what those that ended left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from inferno_proxy.envoy import admin
from inferno_proxy.envoy.lives import LAST_USAGE, life_of
from inferno_proxy.usage.book import Book
from inferno_proxy.usage.counts import PATH, Counter, Who, read
from inferno_proxy.usage.ledger import Named
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Unavailable
from inferno_runtime.latest import Latest

# Seconds. What a killed Envoy counted since it was read last is lost.
_EVERY = 3.0
_PATIENCE = 3.0


class Reading:
    """Brings what Envoys count into a book; ``turns`` counts how often it did.

    ``folder`` has the Envoys' admin sockets; ``name`` says who the parties of a call are.
    """

    def __init__(self, folder: Path, book: Book, name: Callable[[Who], Named], clock: Clock) -> None:
        self.turns = Latest(0)
        self._folder = folder
        self._book = book
        self._name = name
        self._clock = clock
        self._taking = asyncio.Lock()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.turn()
            # Also when a minute ends, so that what is read then is that minute's, as it is on the node.
            await self._clock.sleep(min(_EVERY, 60 - self._clock.wall() % 60))

    async def turn(self) -> None:
        """Read once."""
        async with self._taking:
            ledger = self._book.ledger
            living = await self._living()
            # Looked for after the living: whoever is gone by then has left it. One that still ends would be read again.
            left = {life: found for life, found in (await asyncio.to_thread(self._left)).items() if life not in living}
            ledger.turn(int(self._clock.wall() * 1_000_000))
            shown = [(life, page) for life, page in living.items() if page is not None]
            shown += [(life, page) for life, (page, _) in left.items()]
            news = [life for life, page in shown if ledger.take(life, page, self._name)]
            gone = [life for life in ledger.lives if life not in living]
            for life in gone:
                ledger.end(life)
            if news or gone:
                await self._book.keep()
            for _, file in left.values():
                # Only now, when what it says is kept.
                file.unlink(missing_ok=True)
            self.turns.set(self.turns.value + 1)

    async def _living(self) -> dict[str, dict[Counter, int] | None]:
        """What each Envoy shows; None for one that does not answer now."""
        sockets = {life: socket for socket in sorted(self._folder.glob("*-admin-*.sock")) if (life := life_of(socket))}
        shown = await asyncio.gather(*map(self._ask, sockets.values()))
        return dict(zip(sockets, shown, strict=True))

    async def _ask(self, socket: Path) -> dict[Counter, int] | None:
        try:
            _, page = await admin.call(socket, PATH, within=_PATIENCE)
        except Unavailable:
            return None
        return await asyncio.to_thread(read, page)

    def _left(self) -> dict[str, tuple[dict[Counter, int], Path]]:
        left = {}
        for file in self._folder.glob(f"*-admin-*{LAST_USAGE}"):
            # A proxy that starts clears its folder.
            with contextlib.suppress(FileNotFoundError):
                left[file.name.removesuffix(LAST_USAGE)] = read(file.read_text(encoding="utf-8")), file
        return left
