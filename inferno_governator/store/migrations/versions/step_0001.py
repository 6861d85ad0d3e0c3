"""The first schema: nodes and their facts, stream positions, series, samples and minute roll-ups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "node",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False, unique=True),
    )
    op.create_table(
        "node_facts",
        sa.Column("node", sa.Integer(), sa.ForeignKey("node.id"), primary_key=True, nullable=False),
        sa.Column("effective_minute", sa.BigInteger(), primary_key=True, nullable=False),
        *_counts("price_micros_per_hour"),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("gpu_count", sa.Integer(), nullable=False),
        sa.Column("instance_type", sa.String(), nullable=False),
        sa.Column("spot", sa.Boolean(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stream_position",
        sa.Column("node", sa.Integer(), sa.ForeignKey("node.id"), primary_key=True, nullable=False),
        sa.Column("incarnation", sa.BigInteger(), primary_key=True, nullable=False),
        *_counts("last_sequence", "dropped_samples", "missing_batches", "stored_micros"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("node", sa.Integer(), sa.ForeignKey("node.id"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.UniqueConstraint("node", "kind", "name", "version", name="series_key"),
    )
    work = ("window_micros", "requests", "errors", "inferences", "executions")
    times = ("request_micros", "queue_micros", "compute_micros")
    _samples("model_sample", *work, *times, "pending")
    _samples(
        "device_sample",
        *("window_micros", "busy_micros", "memory_used_bytes", "memory_total_bytes", "energy_millijoules"),
    )
    _minutes("model_minute", *work, *times, "max_pending")
    _minutes(
        "device_minute",
        *("window_micros", "busy_micros", "energy_millijoules", "max_memory_used_bytes", "max_memory_total_bytes"),
    )
    op.create_table(
        "node_minute",
        sa.Column("minute", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("node", sa.Integer(), sa.ForeignKey("node.id"), primary_key=True, nullable=False),
        *_counts("dropped_samples", "missing_batches"),
        sqlite_with_rowid=False,
    )


def _samples(name: str, *counts: str) -> None:
    op.create_table(name, sa.Column("series", sa.Integer(), nullable=False), *_counts("time_micros", *counts))
    op.create_index(f"{name}_time", name, ["time_micros"])


def _minutes(name: str, *counts: str) -> None:
    op.create_table(
        name,
        sa.Column("minute", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("series", sa.Integer(), sa.ForeignKey("series.id"), primary_key=True, nullable=False),
        *_counts(*counts),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop every table, those that refer to others first."""
    for name in (
        *("node_minute", "device_minute", "model_minute", "device_sample", "model_sample"),
        *("series", "stream_position", "node_facts", "node"),
    ):
        op.drop_table(name)
