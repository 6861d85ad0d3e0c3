"""What is to be done to nodes, and how far it has come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "intent",
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False, nullable=False),
        sa.Column("decision", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("verb", "reason", "pool", "node", "instead_of")),
        sa.Column("saves_micros_per_hour", sa.BigInteger(), nullable=False),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.Column("rehearsed", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("sentence", sa.String(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("begun_micros", "called_micros")),
        sa.Column("calls", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("ended_micros", "measured_micros")),
        sqlite_with_rowid=False,
    )
    op.create_index("intent_ended", "intent", ["ended_micros"])
    op.create_index("intent_decision", "intent", ["decision"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("intent")
