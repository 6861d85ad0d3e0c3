"""What callers asked, as proxies count it: by minute, hour and day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LEVELS = ("request_minute", "request_hour", "request_day")
_COUNTS = ("requests", "client_errors", "refused", "server_errors", "request_micros", "input_tokens", "output_tokens")


def upgrade() -> None:
    """Create the tables."""
    names = ("node", "model", "version", "team", "key")
    op.create_table(
        "request_series",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in names),
        sa.UniqueConstraint(*names, name="request_series_key"),
    )
    counts = (*_COUNTS, *(f"latency_{number}" for number in range(16)))
    for level in _LEVELS:
        op.create_table(
            level,
            sa.Column("minute", sa.BigInteger(), primary_key=True, nullable=False),
            sa.Column("series", sa.Integer(), sa.ForeignKey("request_series.id"), primary_key=True, nullable=False),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
            sqlite_with_rowid=False,
        )


def downgrade() -> None:
    """Drop them."""
    for level in (*_LEVELS, "request_series"):
        op.drop_table(level)
