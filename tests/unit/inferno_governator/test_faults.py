from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, NoSuchTableError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from inferno_governator.store.faults import CORRUPT, explain, explained
from inferno_runtime.errors import Broken, InfernoError, InvalidInput, NotFound, Unauthenticated, Unavailable


def sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("the driver's words")
    error.sqlite_errorcode = code
    return error


class PostgresLike(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("the driver's words\nand more")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (sqlite(sqlite3.SQLITE_BUSY), Unavailable, "locked"),
        (sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), Unavailable, "locked"),
        (sqlite(sqlite3.SQLITE_FULL), Unavailable, "disk is full"),
        (sqlite(sqlite3.SQLITE_IOERR_WRITE), Unavailable, "disk"),
        (sqlite(sqlite3.SQLITE_READONLY), Unavailable, "read-only"),
        (sqlite(sqlite3.SQLITE_CORRUPT), Unavailable, "damaged"),
        (sqlite(sqlite3.SQLITE_ERROR), Broken, "statement"),
        (PostgresLike("28P01"), Unauthenticated, "refuses us"),
        (PostgresLike("3D000"), NotFound, "refuses us"),
        (PostgresLike("42501"), InvalidInput, "refuses us"),
        (PostgresLike("53100"), Unavailable, "cannot store now"),
        (PostgresLike("57P01"), Unavailable, "cannot store now"),
        (PostgresLike("22003"), Broken, "statement"),
        (PostgresLike(None), Broken, "statement"),
        (ConnectionRefusedError(111, "refused"), Unavailable, "cannot be reached"),
        (TimeoutError(), Unavailable, "no answer in time"),
        (PoolTimeout("no connection free"), Unavailable, "cannot be reached"),
        (NoSuchTableError("x"), Broken, "statement"),
    ],
)
def test_a_driver_s_error_becomes_one_that_names_the_reaction(
    error: Exception, kind: type[InfernoError], says: str
) -> None:
    ours = explain(error, "db")
    assert type(ours) is kind
    assert says in str(ours)
    assert "\n" not in str(ours)
    assert ours.temporary == (ours.retry_after is not None)


def test_the_driver_s_error_is_found_inside_sqlalchemy_s() -> None:
    wrapped = DBAPIError("SELECT 1", None, sqlite(sqlite3.SQLITE_CORRUPT))
    assert explain(wrapped, "db").reason == CORRUPT


def test_an_error_that_no_database_raised_passes() -> None:
    with pytest.raises(ZeroDivisionError), explained("db"):
        raise ZeroDivisionError
