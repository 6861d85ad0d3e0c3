"""A gate whose audit log nobody reads, for tests of something else."""

from __future__ import annotations

import os
from pathlib import Path

from inferno_proxy.audit import AuditLog
from inferno_proxy.identity.gate import Gate
from inferno_runtime.clock import ManualClock


def gate() -> Gate:
    """Lets in whom the real one lets in."""
    clock = ManualClock()
    return Gate(AuditLog(Path(os.devnull), clock), clock)
