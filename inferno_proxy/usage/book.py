"""The ledger on disk: one file that only its owner reads, written before anything of it is sent."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from inferno_proxy.usage.ledger import Ledger
from inferno_runtime import logs, private_file

_LOG = logs.get("usage")


class Book:
    """The file at ``path``; ``ledger`` is what it holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = asyncio.Lock()
        self.ledger = self._read()

    async def keep(self) -> None:
        """Write the ledger as it is now. A disk that cannot is told of: a restart would then count anew."""
        async with self._writing:
            document = self.ledger.document()
            try:
                await asyncio.to_thread(self._write, document)
            except OSError as error:
                _LOG.error("usage is not kept on disk", path=str(self._path), reason=error.strerror)

    def _write(self, document: dict[str, object]) -> None:
        private_file.replace(self._path, json.dumps(document, separators=(",", ":")).encode())

    def _read(self) -> Ledger:
        try:
            return Ledger.of(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            aside = self._path.with_suffix(".corrupt")
            self._path.replace(aside)
            _LOG.error("usage set aside", path=str(self._path), aside=str(aside), reason=str(error))
        # A number that no earlier ledger of this proxy had, and that fits 63 bits.
        return Ledger(incarnation=time.time_ns())
