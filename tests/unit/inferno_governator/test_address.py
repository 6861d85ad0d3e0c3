from __future__ import annotations

from pathlib import Path

import pytest

from inferno_governator.store.address import parse_database
from inferno_runtime.errors import InvalidInput


def test_the_default_lies_in_the_xdg_data_folder() -> None:
    assert parse_database("", {"XDG_DATA_HOME": "/data"}).file == Path("/data/inferno/governator.db")
    assert parse_database("", {"HOME": "/home/x"}).file == Path("/home/x/.local/share/inferno/governator.db")
    assert parse_database("", {"HOME": "/home/x", "XDG_DATA_HOME": "not/absolute"}).file == Path(
        "/home/x/.local/share/inferno/governator.db"
    )


def test_a_sqlite_url_names_a_file() -> None:
    assert parse_database("sqlite:////var/x.db").file == Path("/var/x.db")
    assert parse_database("sqlite:///x.db").file == Path.cwd() / "x.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_postgresql_url_is_shown_without_its_password(scheme: str) -> None:
    address = parse_database(f"{scheme}://me:hush@db.example:5432/inferno?sslmode=require")
    assert address.file is None
    assert str(address) == "postgresql://me:***@db.example:5432/inferno?ssl=require"
    assert address.url.drivername == "postgresql+asyncpg"


@pytest.mark.parametrize(
    "text", ["nonsense", "mysql://h/x", "sqlite://", "sqlite:///:memory:", "postgresql://h:port/x", "sqlite://host/x"]
)
def test_what_is_no_database_we_know_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_database(text)
    assert "sqlite:///" in refused.value.fix


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("postgresql://me:hu@sh:1:2@h/x", "@ : / are written %40 %3A %2F"),
        ("postgresql://me:hush@h:port/x", "a port is a number"),
        ("postgresql://me:hush@h/x?foo=1", "'foo'"),
        ("postgresql://me:hush@h/x?sslmode=of-course", "'of-course'"),
        ("/var/lib/x.db", "Write sqlite:////var/lib/x.db."),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_its_password(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_database(text)
    assert says in refused.value.sentence()
    assert "hush" not in refused.value.sentence()
