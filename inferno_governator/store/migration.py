"""Bring a database to this version's schema, and refuse one that a newer version has changed."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from inferno_governator.store import hypertables
from inferno_governator.store.sqlite_file import APPLICATION_ID
from inferno_runtime.errors import InvalidInput


def migrate(connection: Connection, database: str) -> None:
    """Run the steps that are missing, in the connection's transaction: all of them or none.

    Raises:
        InvalidInput: The database was changed by a newer version, or belongs to another program.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    found = MigrationContext.configure(connection).get_current_heads()
    newer = sorted(set(found) - known)
    if newer:
        raise InvalidInput(
            f"The database {database} was changed by a newer version of Inferno (schema {newer[0]}; this version knows "
            f"up to {scripts.get_current_head()}).",
            reason="NEWER_DATABASE",
            fix="Run that version or a later one, or name another database with --db.",
        )
    if not found:
        _refuse_foreign(connection, database)
    if connection.dialect.name == "sqlite" and not found:
        connection.execute(text(f"PRAGMA application_id = {APPLICATION_ID}"))
    command.upgrade(config, "head")
    hypertables.adopt(connection)


def _refuse_foreign(connection: Connection, database: str) -> None:
    """A database without our schema version must not hold tables of the names we are about to create."""
    taken = {"node", "series", "stream_position"} & set(inspect(connection).get_table_names())
    if taken:
        raise InvalidInput(
            f"The database {database} holds a table {min(taken)!r} that is not ours.",
            reason="WRONG_DATABASE",
            fix="Name a database of its own with --db.",
        )
