"""Whose turn it is to decide: one process of a database. It ends with the process, however that ends."""

from __future__ import annotations

import fcntl
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from inferno_governator.store.address import DatabaseAddress
from inferno_governator.store.faults import explained

# Any number of our own, other than the writers'.
_LOCK = 0x496E6673
_SECONDS = 10
# A server whose client's machine is gone notices after 10 + 3 * 5 s, and gives the turn away.
_KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}


class Turn:
    """Asks for the turn, and keeps it once it has it until it is left. In PostgreSQL a lock of a session, beside an
    embedded database a lock of a file."""

    def __init__(self, address: DatabaseAddress) -> None:
        self._address = address
        self._file: IO[str] | None = None
        self._engine: AsyncEngine | None = None
        self._session: AsyncConnection | None = None

    async def mine(self) -> bool:
        """True while it is this process's turn; asks for it when nobody has it.

        Raises:
            InfernoError: Nobody knows now, so it is not.
        """
        with explained(str(self._address)):
            if self._address.file is not None:
                return self._lock(self._address.file.with_name(self._address.file.name + ".turn"))
            try:
                return await self._ask()
            except BaseException:
                # The lock is gone with the session, or will be.
                await self._leave()
                raise

    def _lock(self, path: Path) -> bool:
        if self._file is None:
            file = path.open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.close()
                if isinstance(error, BlockingIOError):
                    return False
                raise
            self._file = file
        return True

    async def _ask(self) -> bool:
        if self._session is not None:
            await self._session.execute(text("SELECT 1"))
            return True
        self._engine = self._engine or create_async_engine(
            self._address.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "timeout": _SECONDS,
                "command_timeout": _SECONDS,
                "server_settings": {"application_name": "inferno-governator-turn", **_KEEPALIVE},
            },
        )
        self._session = await self._engine.connect()
        got = await self._session.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK})
        if got.scalar_one():
            return True
        await self._leave()
        return False

    async def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        await self._leave()
