"""What devices can do on nodes: figures of benchmarks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "device_figure",
        sa.Column("node", sa.Integer(), sa.ForeignKey("node.id"), primary_key=True, nullable=False),
        *(sa.Column(name, sa.String(), primary_key=True, nullable=False) for name in ("device", "figure", "library")),
        sa.Column("measured_micros", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("hardware", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("spread", sa.Double(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("device_figure")
