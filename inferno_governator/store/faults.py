"""What went wrong in a database, as our errors: one sentence that says what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from inferno_runtime.errors import Broken, InfernoError, InvalidInput, NotFound, Unauthenticated, Unavailable

# Seconds after which a sender may try again.
RETRY_AFTER = 1.0
CORRUPT = "DATABASE_CORRUPT"

# Source: sqlite.org/rescode.html; the low byte is the primary code.
_SQLITE_TEMPORARY = {
    sqlite3.SQLITE_BUSY: ("is locked by another process", "Find the process that holds it; storing goes on after."),
    sqlite3.SQLITE_LOCKED: ("is locked by another process", "Find the process that holds it; storing goes on after."),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "Free some space; storing goes on by itself."),
    sqlite3.SQLITE_IOERR: ("cannot be written: the disk fails or is full", "Mend the disk; storing goes on by itself."),
    sqlite3.SQLITE_READONLY: ("cannot be written: it is read-only", "Give this user the right to write it."),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "Check that its folder exists and this user may write there."),
    sqlite3.SQLITE_PERM: ("cannot be opened: permission is denied", "Give this user the right to write it."),
}
_SQLITE_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

# Source: PostgreSQL, Appendix A (error codes).
_POSTGRES_WRONG: dict[str, tuple[type[InfernoError], str]] = {
    "28": (Unauthenticated, "Check the user name and password in --db, and pg_hba.conf."),
    "3D": (NotFound, "Create it (createdb), or name another one in --db."),
    "42501": (InvalidInput, "Grant this user CREATE on the schema, or name another user in --db."),
}
# Connection lost, out of resources, shutting down, system error, rolled back, object in use.
_POSTGRES_TEMPORARY = ("08", "53", "57", "58", "40", "55", "25")


@contextmanager
def explained(database: str) -> Iterator[None]:
    """Raise our error for what a driver raises inside.

    Raises:
        Unavailable: Locked, full, unreachable or restarting: the same work may succeed later. With the reason
            :data:`CORRUPT`, only after the file has been set aside.
        InvalidInput, NotFound, Unauthenticated: The database, or who opens it, is the wrong one.
        Broken: The database refuses the statement itself.
    """
    try:
        yield
    except (SQLAlchemyError, OSError, TimeoutError, sqlite3.Error) as error:
        raise explain(error, database) from error
    except Exception as error:
        # asyncpg's own errors, where we speak to it without SQLAlchemy; they have no base that need be imported.
        if type(error).__module__.startswith("asyncpg"):
            raise explain(error, database) from error
        raise


def explain(error: BaseException, database: str) -> InfernoError:
    """Our error for a driver's."""
    cause: BaseException = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return _sqlite(code & 0xFF, cause, database)
    state = getattr(cause, "sqlstate", None)
    lost = isinstance(error, PoolTimeout) or (isinstance(error, DBAPIError) and error.connection_invalidated)
    if state is None and (lost or isinstance(cause, OSError | TimeoutError) or _is_interface(cause)):
        return _unavailable(f"The database {database} cannot be reached: {_line(cause)}.", "Check that it runs.")
    return _postgres(state or "", cause, database)


def _sqlite(code: int, cause: BaseException, database: str) -> InfernoError:
    if code in _SQLITE_CORRUPT:
        return Unavailable(
            f"The database {database} is damaged: {_line(cause)}.",
            reason=CORRUPT,
            fix="It is set aside and a new one is begun.",
            retry_after=RETRY_AFTER,
        )
    if code in _SQLITE_TEMPORARY:
        what, fix = _SQLITE_TEMPORARY[code]
        return _unavailable(f"The database {database} {what}.", fix)
    return _broken(cause, database)


def _postgres(state: str, cause: BaseException, database: str) -> InfernoError:
    for prefix, (kind, fix) in _POSTGRES_WRONG.items():
        if state.startswith(prefix):
            return kind(f"The database {database} refuses us: {_line(cause)}.", reason="DATABASE_REFUSED", fix=fix)
    if state.startswith(_POSTGRES_TEMPORARY):
        return _unavailable(f"The database {database} cannot store now: {_line(cause)}.", "It is tried again.")
    return _broken(cause, database)


def _is_interface(cause: BaseException) -> bool:
    """A connection that the driver has given up; it carries no SQL state."""
    return "InterfaceError" in type(cause).__name__ or "ConnectionDoesNotExist" in type(cause).__name__


def _unavailable(message: str, fix: str) -> Unavailable:
    return Unavailable(message, reason="DATABASE_UNAVAILABLE", fix=fix, retry_after=RETRY_AFTER)


def _broken(cause: BaseException, database: str) -> Broken:
    return Broken(
        f"The database {database} refuses a statement of ours: {_line(cause)}.",
        reason="DATABASE_STATEMENT",
        fix="This is a defect: please report it.",
    )


def _line(error: BaseException) -> str:
    """The first line of a driver's message, without its full stop."""
    text = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
    return text.splitlines()[0].removesuffix(".")
