"""Devices that can do no work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "device_fault",
        sa.Column("node", sa.Integer(), sa.ForeignKey("node.id"), primary_key=True, nullable=False),
        sa.Column("device", sa.String(), primary_key=True, nullable=False),
        sa.Column("fault", sa.String(), nullable=False),
        sa.Column("last_micros", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("device_fault")
