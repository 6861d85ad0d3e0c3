"""Tokens, as the models of a node count them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_COUNTS = ("input_tokens", "output_tokens")


def upgrade() -> None:
    """Add the columns; of what is stored no tokens are known."""
    for name in _COUNTS:
        op.add_column("model_minute", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop them."""
    for name in _COUNTS:
        op.drop_column("model_minute", name)
