"""What models can do on nodes: reports of benchmarks with their steps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=False) for name in names]


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "capacity_report",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("node", sa.Integer(), sa.ForeignKey("node.id"), nullable=False),
        *_texts("hardware", "model", "files", "configuration"),
        *_counts("measured_micros"),
        *_texts("hardware_name", "settings"),
        *_counts("objective_micros"),
        *_texts("triton_version"),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.UniqueConstraint(
            "node", "hardware", "model", "files", "configuration", "measured_micros", name="capacity_report_key"
        ),
    )
    op.create_table(
        "capacity_step",
        sa.Column("report", sa.Integer(), sa.ForeignKey("capacity_report.id"), primary_key=True, nullable=False),
        sa.Column("batch", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("concurrency", sa.Integer(), primary_key=True, nullable=False),
        *_counts("requests", "failures"),
        sa.Column("requests_per_second", sa.Double(), nullable=False),
        sa.Column("uncertainty", sa.Double(), nullable=False),
        *_counts("p50_micros", "p95_micros", "p99_micros"),
        sa.Column("generator_cores", sa.Double(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop both, the one that refers to the other first."""
    op.drop_table("capacity_step")
    op.drop_table("capacity_report")
