"""The embedded database's file: whether it is sound, and setting it aside when it is not. It is never deleted."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from inferno_runtime import logs
from inferno_runtime.errors import InvalidInput, Unavailable

_LOG = logs.get("governator.store")

# Four bytes in the file's header that say whose database it is. Source: sqlite.org/pragma.html#pragma_application_id
APPLICATION_ID = int.from_bytes(b"Infr", "big")
_HEADER = b"SQLite format 3\0"
_SUFFIXES = (".db", ".sqlite", ".sqlite3")
# A database of gigabytes takes longer to read through than a start may; damage that is missed here is found on use.
CHECK_SECONDS = 5.0
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def prepare(file: Path, patience: float = CHECK_SECONDS) -> Path | None:
    """Make sure that ``file`` can be opened: its folder exists, and what is damaged is set aside.

    ``patience`` is how long, in seconds, to look for damage. Returns where a damaged file was put, or None.

    Raises:
        InvalidInput: The file belongs to another program.
        Unavailable: The folder cannot be made or the file cannot be read.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as opened:
            header = opened.read(len(_HEADER))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(
            f"The database {file} cannot be opened: {error.strerror}.",
            reason="DATABASE_UNAVAILABLE",
            fix="Check the path given with --db and the rights of this user.",
        ) from error
    if not header:
        return None
    if header != _HEADER and file.suffix not in _SUFFIXES:
        raise InvalidInput(
            f"{file} is no SQLite database.",
            reason="WRONG_DATABASE",
            fix="Name another file with --db; this one is left as it is.",
        )
    damage = _damage(file, patience)
    return set_aside(file, damage) if damage else None


def _damage(file: Path, patience: float) -> str:
    """What is wrong with a database, or an empty string.

    Raises:
        InvalidInput: The database belongs to another program.
    """
    deadline = time.monotonic() + patience
    try:
        with closing(sqlite3.connect(f"file:{_quoted(file)}?mode=rw", uri=True, timeout=patience)) as connection:
            owner = connection.execute("PRAGMA application_id").fetchone()[0]
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and owner != APPLICATION_ID:
                raise InvalidInput(
                    f"{file} is the SQLite database of another program.",
                    reason="WRONG_DATABASE",
                    fix="Name another file with --db; this one is left as it is.",
                )
            connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _CORRUPT:
            return str(error)
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            # Locked or out of reach: whoever opens it next says so.
            return ""
        _LOG.info("database is too large to be checked whole at start", file=str(file), seconds=patience)
        return ""
    return "" if found == "ok" else found


def set_aside(file: Path, damage: str) -> Path:
    """Rename a damaged database with its write-ahead log, so that it can be examined, and return its new name."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = file.with_name(f"{file.name}.corrupt-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        part = file.with_name(file.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    _LOG.error("damaged database set aside, a new one is begun", file=str(file), kept=str(aside), damage=damage)
    return aside


def _quoted(file: Path) -> str:
    """A path for an SQLite URI."""
    return str(file).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
