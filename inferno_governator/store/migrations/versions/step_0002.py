"""What providers announce to their machines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "provider_notice",
        sa.Column("node", sa.Integer(), sa.ForeignKey("node.id"), primary_key=True, nullable=False),
        sa.Column("incarnation", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("kind", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("action", sa.String(), primary_key=True, nullable=False),
        sa.Column("noticed_micros", sa.BigInteger(), nullable=False),
        sa.Column("reclaim_micros", sa.BigInteger(), nullable=True),
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("provider", "region", "zone", "instance_type", "instance_id")
        ),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sa.Column("stored_micros", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("provider_notice_stored", "provider_notice", ["stored_micros"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("provider_notice")
