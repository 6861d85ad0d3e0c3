"""One row of the registry's table: the facts about a node, and what changes too often to be part of them."""

from __future__ import annotations

from dataclasses import dataclass

from inferno_proxy.fleet import Load, Member
from inferno_proxy.registry.lease import Lease
from inferno_proxy.registry.membership import Record


@dataclass(slots=True)
class Slot:
    """``member`` is what the fleet shows of ``record``. The lease holds ``duration`` seconds and is looked at when the
    monotonic clock shows ``due``; ``load`` is the newest report."""

    record: Record
    member: Member
    lease: Lease
    duration: float
    due: float
    load: Load | None = None
