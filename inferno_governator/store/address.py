"""The ``--db`` URL: which database, and how it is shown without its password."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from inferno_runtime.errors import InvalidInput

# What a PostgreSQL URL may say after the question mark, by libpq's names and asyncpg's.
_QUERY = frozenset({"host", "port", "sslmode", "ssl", "passfile", "target_session_attrs"})
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_EXAMPLES = "sqlite:///path/to/file.db or postgresql://user:password@host:5432/name"
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A database. ``file`` is its path when it is embedded SQLite, None when it is PostgreSQL."""

    url: URL
    file: Path | None

    def __str__(self) -> str:
        if self.file is not None:
            return str(self.file)
        return self.url.set(drivername="postgresql").render_as_string(hide_password=True)


def parse_database(text: str, env: Mapping[str, str] = os.environ) -> DatabaseAddress:
    """Read a URL; an empty one means ``inferno/governator.db`` in the XDG data folder.

    Raises:
        InvalidInput: It is not a URL of a database we know.
    """
    if not text:
        file = data_folder(env) / "governator.db"
        return DatabaseAddress(URL.create("sqlite+aiosqlite", database=str(file)), file)
    scheme = text.partition("://")[0]
    if scheme not in _DRIVERS:
        raise _unknown(text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise _malformed(scheme) from error
    driver = _DRIVERS[scheme]
    if driver.startswith("sqlite"):
        if not url.database or url.database == ":memory:" or url.host:
            raise InvalidInput(
                f"{text!r} names no file.",
                reason="BAD_DATABASE_URL",
                fix="Write sqlite:///relative/path or sqlite:////absolute/path; telemetry in memory would not be kept.",
            )
        file = Path(url.database).expanduser().absolute()
        return DatabaseAddress(url.set(drivername=driver, database=str(file)), file)
    return DatabaseAddress(_for_asyncpg(url.set(drivername=driver)), None)


def _for_asyncpg(url: URL) -> URL:
    """asyncpg calls libpq's ``sslmode`` ``ssl``.

    Raises:
        InvalidInput: The URL says something that asyncpg does not know.
    """
    unknown = sorted(url.query.keys() - _QUERY)
    if unknown:
        raise InvalidInput(
            f"The URL of the PostgreSQL database says {unknown[0]!r}, which it may not.",
            reason="BAD_DATABASE_URL",
            fix=f"After the question mark may stand: {', '.join(sorted(_QUERY - {'ssl'}))}.",
        )
    mode = url.query.get("sslmode")
    if mode is not None and mode not in _SSL_MODES:
        raise InvalidInput(
            f"The URL of the PostgreSQL database has an sslmode {mode!r} that there is not.",
            reason="BAD_DATABASE_URL",
            fix=f"Write one of: {', '.join(_SSL_MODES)}.",
        )
    return url if mode is None else url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


def data_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where the governator keeps what it is not told to keep elsewhere. Source: XDG Base Directory Specification; a
    relative path counts as unset."""
    given = Path(env.get("XDG_DATA_HOME", ""))
    home = given if given.is_absolute() else Path(env.get("HOME") or Path.home()) / ".local" / "share"
    return home / "inferno"


def _unknown(text: str) -> InvalidInput:
    path = "://" not in text and ("/" in text or text.endswith((".db", ".sqlite", ".sqlite3")))
    return InvalidInput(
        # A URL that cannot be read may hold a password anywhere: only its beginning is shown.
        f"{text.split(':', 1)[0]!r} does not begin the URL of a database we know.",
        reason="BAD_DATABASE_URL",
        fix=f"Write sqlite:///{text}." if path else f"Write {_EXAMPLES}.",
    )


def _malformed(scheme: str) -> InvalidInput:
    return InvalidInput(
        f"What follows {scheme}:// cannot be read: a port is a number, and in a user's name or password @ : / are "
        "written %40 %3A %2F.",
        reason="BAD_DATABASE_URL",
        fix=f"Write {_EXAMPLES}.",
    )
