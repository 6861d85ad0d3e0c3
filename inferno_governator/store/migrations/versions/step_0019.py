"""How much of an open hour is settled already."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of what is open nothing is settled."""
    op.add_column("open_hour", sa.Column("settled", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop it, and what is settled of open hours: it would count as that of their whole."""
    op.execute(
        "DELETE FROM item_hour WHERE EXISTS (SELECT 1 FROM open_hour o JOIN item_series s ON s.node = o.node "
        "WHERE o.minute = item_hour.minute AND s.id = item_hour.series)"
    )
    op.drop_column("open_hour", "settled")
