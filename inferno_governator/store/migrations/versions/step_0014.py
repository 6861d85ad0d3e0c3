"""The state of devices by minute, and their use and state by hour and day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_USE = ("window_micros", "busy_micros", "energy_millijoules", "known_micros")
_STATE = ("warm_millis", "celsius_millis", "clock_millis", "mhz_millis", "slowed_millis", "hot_millis", "xids")
_MOST_USED = ("max_memory_used_bytes", "max_memory_total_bytes")
_MOST = ("max_power_milliwatts", "max_celsius")
_COUNTERS = ("highest_ecc_corrected", "highest_ecc_uncorrected")


def upgrade() -> None:
    """Create the columns and tables, and fill hours and days from what is settled and still there in minutes.

    Open hours and days are made when they are settled, a few nodes at a time.
    """
    for names, unknown in ((_STATE, "0"), (_MOST, "0"), (_COUNTERS, "-1")):
        for name in names:
            op.add_column("device_minute", sa.Column(name, sa.BigInteger(), nullable=False, server_default=unknown))
    for level in ("device_hour", "device_day"):
        op.create_table(
            level,
            sa.Column("minute", sa.BigInteger(), primary_key=True, nullable=False),
            sa.Column("series", sa.Integer(), sa.ForeignKey("series.id"), primary_key=True, nullable=False),
            *(
                sa.Column(name, sa.BigInteger(), nullable=False)
                for name in (*_USE, *_STATE, *_MOST_USED, *_MOST, "ecc_corrected", "ecc_uncorrected")
            ),
            sqlite_with_rowid=False,
        )
    for source, target, length, opened in (
        ("device_minute", "device_hour", 60, "open_hour"),
        ("device_hour", "device_day", 1440, "open_day"),
    ):
        sums = ", ".join(f"sum(m.{name})" for name in _USE)
        nothing = ", ".join("0" for _ in _STATE)
        most = ", ".join(f"max(m.{name})" for name in _MOST_USED)
        stretch = f"m.minute - m.minute % {length}"
        op.execute(
            # Names of ours only.
            f"INSERT INTO {target} SELECT {stretch}, m.series, {sums}, {nothing}, {most}, 0, 0, 0, 0 "  # noqa: S608
            f"FROM {source} m JOIN series s ON s.id = m.series "
            f"WHERE NOT EXISTS (SELECT 1 FROM {opened} o WHERE o.node = s.node AND o.minute = {stretch}) "
            f"GROUP BY {stretch}, m.series"
        )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("device_day")
    op.drop_table("device_hour")
    for name in (*_COUNTERS, *_MOST, *_STATE):
        op.drop_column("device_minute", name)
