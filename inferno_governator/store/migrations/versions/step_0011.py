"""For how much of a minute it is known how busy a device was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of what is stored all is taken to be known."""
    op.add_column("device_minute", sa.Column("known_micros", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE device_minute SET known_micros = window_micros")


def downgrade() -> None:
    """Drop it."""
    op.drop_column("device_minute", "known_micros")
