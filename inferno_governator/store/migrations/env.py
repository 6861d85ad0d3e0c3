"""Alembic's entry: runs the steps on the connection it is given, within that connection's transaction."""

from __future__ import annotations

from alembic import context

from inferno_governator.store.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
