"""The rows of the fault table that are not measured, and why not."""

from __future__ import annotations

from benchmarks.faults.clocks import can_move_clocks
from benchmarks.faults.fault import Skipped

SKIPPED: tuple[Skipped, ...] = (
    *(
        []
        if can_move_clocks()
        else [Skipped(25, "the wall clock jumps by an hour", "needs ziglang to compile what moves it")]
    ),
    Skipped(38, "governator killed between deciding and acting", "the governator does not act yet"),
)
