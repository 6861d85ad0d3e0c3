"""Which commitment covers a node, what it used of it, and what commitments cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_USED = (
    ("node_facts", "committed_micros_per_hour"),
    ("item_hour", "committed_micros"),
    ("item_day", "committed_micros"),
)


def upgrade() -> None:
    """Add the columns, empty: what is unused of a commitment is counted from now on."""
    op.add_column("node_facts", sa.Column("commitment", sa.String(), nullable=False, server_default=""))
    for name, column in _USED:
        op.add_column(name, sa.Column(column, sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "commitment_term",
        sa.Column("name", sa.String(), primary_key=True, nullable=False),
        sa.Column("effective_minute", sa.BigInteger(), primary_key=True, autoincrement=False, nullable=False),
        sa.Column("price_micros_per_hour", sa.BigInteger(), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("origin", "provider", "region", "instance_type")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("commitment_term")
    for name, column in _USED:
        op.drop_column(name, column)
    op.drop_column("node_facts", "commitment")
