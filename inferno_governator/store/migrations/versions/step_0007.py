"""Alerts, and what receivers were told of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=False) for name in names]


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "alert",
        sa.Column("fingerprint", sa.String(), primary_key=True, nullable=False),
        sa.Column("start_micros", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("end_micros", sa.BigInteger(), nullable=True),
        *_texts("kind", "subject"),
        sa.Column("severity", sa.Integer(), nullable=False),
        *_texts("cause", "next_step", "evidence"),
        sa.Column("silenced_until_micros", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("alert_end", "alert", ["end_micros"])
    op.create_table(
        "alert_told",
        sa.Column("receiver", sa.String(), primary_key=True, nullable=False),
        sa.Column("fingerprint", sa.String(), primary_key=True, nullable=False),
        sa.Column("start_micros", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("told_micros", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("alert_told_time", "alert_told", ["told_micros"])


def downgrade() -> None:
    """Drop both."""
    op.drop_table("alert_told")
    op.drop_table("alert")
