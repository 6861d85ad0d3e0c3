"""What is billed, by hour and day, and how long nodes lived unmeasured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COUNTS = (
    *("paid_micros", "cost_micros", "requests", "errors", "inferences", "input_tokens", "output_tokens"),
    *("request_micros", "queue_micros", "compute_micros"),
)


def upgrade() -> None:
    """Create the tables; every hour that has minutes is open: its items are still to be made."""
    op.add_column("stream_position", sa.Column("last_micros", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("node_minute", sa.Column("unmeasured_micros", sa.BigInteger(), nullable=False, server_default="0"))
    names = ("model", "version", "team", "key")
    op.create_table(
        "item_series",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("node", sa.Integer(), sa.ForeignKey("node.id"), nullable=False),
        sa.Column("purpose", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in names),
        sa.UniqueConstraint("node", "purpose", *names, name="item_series_key"),
    )
    op.create_table(
        "item_facts",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("said", sa.String(), nullable=False, unique=True),
    )
    for level in ("item_hour", "item_day"):
        op.create_table(
            level,
            sa.Column("minute", sa.BigInteger(), primary_key=True, nullable=False),
            sa.Column("series", sa.Integer(), sa.ForeignKey("item_series.id"), primary_key=True, nullable=False),
            sa.Column("facts", sa.Integer(), sa.ForeignKey("item_facts.id"), primary_key=True, nullable=False),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
            sqlite_with_rowid=False,
        )
    for name in ("open_hour", "open_day"):
        op.create_table(
            name,
            sa.Column("minute", sa.BigInteger(), primary_key=True, nullable=False),
            sa.Column("node", sa.Integer(), sa.ForeignKey("node.id"), primary_key=True, nullable=False),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "sealed",
        sa.Column("length", sa.Integer(), primary_key=True, autoincrement=False, nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO open_hour (minute, node) "
        "SELECT m.minute - m.minute % 60, s.node FROM model_minute m JOIN series s ON s.id = m.series "
        "UNION SELECT m.minute - m.minute % 60, s.node FROM device_minute m JOIN series s ON s.id = m.series"
    )
    op.execute("INSERT INTO open_day (minute, node) SELECT DISTINCT minute - minute % 1440, node FROM open_hour")


def downgrade() -> None:
    """Drop them."""
    for name in ("sealed", "open_day", "open_hour", "item_day", "item_hour", "item_facts", "item_series"):
        op.drop_table(name)
    op.drop_column("node_minute", "unmeasured_micros")
    op.drop_column("stream_position", "last_micros")
