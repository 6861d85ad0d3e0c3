"""A pool as a value. Money is in micro-dollars, times are in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NAME = r"^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$"


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes of one kind.

    Attributes:
        name: Lower-case letters, digits and dashes, at most 30: part of its nodes' names.
        provider: Name of the provider.
        models: Models that its nodes serve.
        minimum: Nodes that there are at least.
        maximum: Nodes that there may be at most.
        spot: Machines that the provider may take back.
        region: Where; empty for the provider's own default.
        zone: Zone within the region; empty for any.
        instance_type: The provider's name of the machine type; empty where it has none.
        micros_per_hour: What one node costs; 0 asks the price book for ``provider``, region and type.
        boot_seconds: From the call to the first traffic, until it has been measured.
        capacity: Requests a second that one node serves within the objective, by model, until it has been measured.
        drain_seconds: For how long a node may finish its work before it is stopped.
        interruptible: Work that is left then may be cut off: it is tried again elsewhere. Otherwise the node stays.
        act: Decisions may be carried out. Without it they are rehearsed: everything but the provider's call.
        options: What only this provider understands, such as ``image_id`` or ``command``.
    """

    name: str
    provider: str
    models: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 1
    spot: bool = False
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    micros_per_hour: int = 0
    boot_seconds: float = 300.0
    capacity: Mapping[str, float] = field(default_factory=dict)
    drain_seconds: float = 300.0
    interruptible: bool = False
    act: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
