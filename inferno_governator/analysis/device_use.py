"""How a device was used over a stretch of time, and how it was meanwhile."""

from __future__ import annotations

from typing import NamedTuple, cast


class DeviceTotal(NamedTuple):
    """Sums and maxima over the time that a device was measured; see the tables for what each counts.

    ``window_micros`` is that time, in microseconds; ``known_micros`` the part in which it is known how busy it was.
    """

    node: str
    # "cpu" or "gpu".
    kind: str
    # "cpu", or the GPU's UUID.
    device: str
    window_micros: int
    busy_micros: int
    energy_millijoules: int
    known_micros: int
    warm_millis: int = 0
    celsius_millis: int = 0
    clock_millis: int = 0
    mhz_millis: int = 0
    slowed_millis: int = 0
    hot_millis: int = 0
    xids: int = 0
    max_memory_used_bytes: int = 0
    max_memory_total_bytes: int = 0
    max_power_milliwatts: int = 0
    max_celsius: int = 0
    ecc_corrected: int = 0
    ecc_uncorrected: int = 0

    @property
    def utilization(self) -> float | None:
        """Share of the time in which it was busy; None where that is not known."""
        return self.busy_micros / self.known_micros if self.known_micros else None

    @property
    def mean_watts(self) -> float | None:
        """Energy by time; None where it was not measured."""
        return self.energy_millijoules * 1000 / self.window_micros if self.energy_millijoules else None

    @property
    def mean_celsius(self) -> float | None:
        """Mean temperature; None where it was not measured."""
        return self.celsius_millis / self.warm_millis if self.warm_millis else None

    @property
    def mean_mhz(self) -> float | None:
        """Mean clock of the multiprocessors; None where it was not measured."""
        return self.mhz_millis / self.clock_millis if self.clock_millis else None


# Where what adds up begins, and which of it are maxima.
_COUNTS = DeviceTotal._fields.index("window_micros")
_MAXIMA = [name.startswith("max_") for name in DeviceTotal._fields[_COUNTS:]]


def together(one: DeviceTotal, other: DeviceTotal) -> DeviceTotal:
    """Two stretches of one device as one."""
    pairs = zip(_counts(one), _counts(other), _MAXIMA, strict=True)
    return DeviceTotal._make((*one[:_COUNTS], *(max(a, b) if maximum else a + b for a, b, maximum in pairs)))


def share(total: DeviceTotal, first: int, last: int, minutes: int) -> DeviceTotal:
    """The part of a stretch of so many minutes between two of its minutes: sums spread evenly, in whole numbers, so
    that adjoining parts add up to it."""
    counts = (
        count if maximum else count * last // minutes - count * first // minutes
        for count, maximum in zip(_counts(total), _MAXIMA, strict=True)
    )
    return DeviceTotal._make((*total[:_COUNTS], *counts))


def _counts(total: DeviceTotal) -> tuple[int, ...]:
    return cast("tuple[int, ...]", total[_COUNTS:])
