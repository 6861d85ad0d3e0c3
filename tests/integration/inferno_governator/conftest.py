"""Real databases: a SQLite file for each test, and one PostgreSQL server with a database for each test."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks.postgres import PostgresServer
from tests.integration.inferno_governator.aws import moto_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL 18 on a Unix socket that lives as long as the tests."""
    with contextlib.ExitStack() as stack:
        # A Unix socket's path holds 107 bytes, so its folder lies in the system's temporary folder.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inf-pg-", ignore_cleanup_errors=True)))
        server = PostgresServer(folder / "data")
        server.start()
        stack.callback(server.stop)
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """A database of this test's own."""
    return postgres_server.create_database(f"test_{uuid4().hex}")


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Address of an AWS on loopback that lives as long as the tests."""
    with moto_server() as address:
        yield address


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file of this test's own that does not exist yet."""
    return f"sqlite:///{tmp_path / 'data' / 'governator.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each database in turn."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))
