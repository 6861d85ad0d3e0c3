"""The rows of the fault table that befall the governator and its database."""

from __future__ import annotations

from math import inf

from benchmarks.faults.fault import HEALING, Fault
from benchmarks.faults.governators import (
    DROPPED,
    FEW,
    KEPT,
    MEANWHILE,
    MISSING,
    REFUSED,
    database_damaged,
    database_locked,
    disk_full,
    governator_away,
    telemetry_flood,
)

ROWS: tuple[Fault, ...] = (
    Fault(
        22,
        "the governator is stopped for a minute",
        "0 failed; every request is on the bill within 90 s, no more than 16 MiB more memory in any agent",
        governator_away,
        recover=90,
        grown=16,
        bounds={MISSING: (0, 0), DROPPED: (0, 0)},
        # Agents that have no room.
        control_config=HEALING + FEW,
        bites=lambda measured: measured.figures[MISSING] > 0 and measured.figures[DROPPED] > 0,
        tested=(),
    ),
    Fault(
        23,
        "telemetry flood: twenty nodes send as fast as they can",
        "0 failed; what is too much is refused with RetryInfo, what is acknowledged is on the bill, at most 320 MiB "
        "more memory",
        telemetry_flood,
        grown=320,
        bounds={MISSING: (0, 0), REFUSED: (1, inf)},
        # That it bites is seen from the refusals.
        controlled=False,
        tested=(),
    ),
    Fault(
        24,
        "the governator's database is locked for a minute",
        "0 failed; nothing is stored meanwhile, every request is on the bill within 90 s of its end",
        database_locked,
        recover=90,
        bounds={MISSING: (0, 0), DROPPED: (0, 0), MEANWHILE: (0, 0)},
        controlled=False,
        tested=(),
    ),
    Fault(
        24,
        "the governator's disk is full for 15 s",
        "0 failed; nothing is stored meanwhile, every request is on the bill within 90 s of its end",
        disk_full,
        recover=90,
        bounds={MISSING: (0, 0), DROPPED: (0, 0), MEANWHILE: (0, 0)},
        controlled=False,
        tested=(),
    ),
    Fault(
        24,
        "the governator's database is overwritten while it is in use",
        "0 failed; the file is kept whole under another name, and a new one is written within 30 s",
        database_damaged,
        recover=30,
        bounds={KEPT: (1, 1)},
        controlled=False,
        tested=(),
    ),
)
