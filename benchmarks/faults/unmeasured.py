"""The rows of the fault table that are not measured, and why not."""

from __future__ import annotations

from benchmarks.faults.clocks import can_move_clocks
from benchmarks.faults.fault import Skipped

_ECONOMY = "belongs to the governator's own faults, which are not built yet"
SKIPPED: tuple[Skipped, ...] = (
    Skipped(22, "governator down for 10 minutes", _ECONOMY),
    Skipped(23, "telemetry flood", _ECONOMY),
    Skipped(24, "database locked, disk full, file corrupt", _ECONOMY),
    *(
        []
        if can_move_clocks()
        else [Skipped(25, "the wall clock jumps by an hour", "needs ziglang to compile what moves it")]
    ),
    Skipped(38, "governator killed between deciding and acting", "the governator does not act yet"),
)
