"""Prices of offers, and where a node's price is from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; what nodes cost so far is what their agents said."""
    op.add_column("node_facts", sa.Column("provider", sa.String(), nullable=False, server_default=""))
    op.add_column(
        "node_facts", sa.Column("reported_micros_per_hour", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("node_facts", sa.Column("price_origin", sa.String(), nullable=False, server_default="unpriced"))
    op.execute(
        "UPDATE node_facts SET reported_micros_per_hour = price_micros_per_hour, price_origin = 'reported' "
        "WHERE price_micros_per_hour > 0"
    )
    op.create_table(
        "price_offer",
        sa.Column("id", sa.Integer(), primary_key=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("cloud", "region", "instance_type")),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sa.Column("gpu", sa.String(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in _COUNTS),
        sa.UniqueConstraint("cloud", "region", "instance_type", "spot", name="price_offer_key"),
    )
    op.create_table(
        "offer_price",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("offer", sa.Integer(), sa.ForeignKey("price_offer.id"), nullable=False),
        sa.Column("from_minute", sa.BigInteger(), nullable=False),
        sa.Column("price_micros_per_hour", sa.BigInteger(), nullable=False),
        sa.Column("as_of_day", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("seen_micros", sa.BigInteger(), nullable=False),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.Column("replaced_micros", sa.BigInteger(), nullable=True),
    )
    op.create_index("offer_price_offer", "offer_price", ["offer"])


_COUNTS = ("gpu_count", "gpu_memory_gb", "vcpus", "memory_gb")


def downgrade() -> None:
    """Drop them."""
    op.drop_table("offer_price")
    op.drop_table("price_offer")
    for name in ("price_origin", "reported_micros_per_hour", "provider"):
        op.drop_column("node_facts", name)
