"""Tables of the use of devices by minute, hour and day. Times are as in the schema, memory in bytes."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

_NO_ROWID = {"sqlite_with_rowid": False}


class _DeviceCounts(SQLModel):
    """How a device was used in a stretch of time, under its first minute: sums of its samples, and the most of some."""

    minute: int = Field(primary_key=True, sa_type=BigInteger)
    series: int = Field(primary_key=True, foreign_key="series.id")
    window_micros: int = Field(sa_type=BigInteger)
    busy_micros: int = Field(sa_type=BigInteger)
    energy_millijoules: int = Field(sa_type=BigInteger)
    # The part of the windows of which it is known how busy the device was.
    known_micros: int = Field(sa_type=BigInteger)
    # Time in which the temperature is known, and degrees Celsius times that time; the same of the clock. In
    # milliseconds, which take two bytes less than microseconds in each of millions of rows.
    warm_millis: int = Field(default=0, sa_type=BigInteger)
    celsius_millis: int = Field(default=0, sa_type=BigInteger)
    clock_millis: int = Field(default=0, sa_type=BigInteger)
    mhz_millis: int = Field(default=0, sa_type=BigInteger)
    # Time in which something held the clocks down, and the part of it in which that was heat.
    slowed_millis: int = Field(default=0, sa_type=BigInteger)
    hot_millis: int = Field(default=0, sa_type=BigInteger)
    xids: int = Field(default=0, sa_type=BigInteger)
    max_memory_used_bytes: int = Field(sa_type=BigInteger)
    max_memory_total_bytes: int = Field(sa_type=BigInteger)
    # 0: not measured.
    max_power_milliwatts: int = Field(default=0, sa_type=BigInteger)
    max_celsius: int = Field(default=0, sa_type=BigInteger)


class DeviceMinute(_DeviceCounts, table=True):
    """How a device was used in a minute."""

    __tablename__ = "device_minute"
    __table_args__ = (_NO_ROWID,)

    # The driver's counters of memory errors at their highest; -1: they do not count.
    highest_ecc_corrected: int = Field(default=-1, sa_type=BigInteger)
    highest_ecc_uncorrected: int = Field(default=-1, sa_type=BigInteger)


class _DeviceErrors(_DeviceCounts):
    """The same with the memory errors that came up in the time."""

    ecc_corrected: int = Field(default=0, sa_type=BigInteger)
    ecc_uncorrected: int = Field(default=0, sa_type=BigInteger)


class DeviceHour(_DeviceErrors, table=True):
    """How a device was used in an hour: made from its minutes when they are settled."""

    __tablename__ = "device_hour"
    __table_args__ = (_NO_ROWID,)


class DeviceDay(_DeviceErrors, table=True):
    """How a device was used in a day (UTC): the sum of its hours."""

    __tablename__ = "device_day"
    __table_args__ = (_NO_ROWID,)
