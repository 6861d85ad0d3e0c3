"""Bytes of what callers asked and got."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TABLES = ("request_minute", "request_hour", "request_day")
_COUNTS = ("request_bytes", "response_bytes")


def upgrade() -> None:
    """Add the columns; of what is stored no bytes are known."""
    for table in _TABLES:
        for name in _COUNTS:
            op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop them."""
    for table in _TABLES:
        for name in _COUNTS:
            op.drop_column(table, name)
