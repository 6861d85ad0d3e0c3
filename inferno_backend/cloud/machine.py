"""A machine of a cloud as its provider describes it: frozen values, no wire."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

# Whose metadata service is asked.
Asked = Literal["auto", "aws", "gcp", "azure", "off"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a provider says of a machine; empty where it says nothing.

    ``spot``: it may be taken back at short notice; None: not said. ``name`` is what the provider's own messages call
    it, where that is not ``instance_id``.
    """

    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    instance_id: str = ""
    spot: bool | None = None
    name: str = ""


UNKNOWN = Machine()


class Kind(StrEnum):
    """What a notice is about: the machine's end; the advice to leave before one; work on its host that it survives."""

    RECLAIM = "RECLAIM"
    REBALANCE = "REBALANCE"
    MAINTENANCE = "MAINTENANCE"


@dataclass(frozen=True, slots=True)
class Notice:
    """What the provider announces, in its own words (``action``), and how many seconds away it is; None: not said."""

    kind: Kind
    action: str
    left: float | None = None
