"""What was heard of a node in the last minutes, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inferno_governator.usage import Facts

# Microseconds over which rates are taken.
RATE_MICROS = 60_000_000


@dataclass(frozen=True, slots=True)
class ModelSight:
    """A model on a node: requests in the last minute and the microseconds that they took in all, waited and were worked
    on; requests on it now, and the last minute that had one (0: none for two hours)."""

    requests: int = 0
    request_micros: int = 0
    queue_micros: int = 0
    compute_micros: int = 0
    pending: int = 0
    last_minute: int = 0


@dataclass(frozen=True, slots=True)
class NodeSight:
    """A node: when it was heard last and its life began, what it said of itself, its models by name, how busy devices
    are, 0 to 1. Times are Unix microseconds; a life that nobody dates began at 0."""

    heard_micros: int
    born_micros: int
    facts: Facts
    models: Mapping[str, ModelSight]
    busy: float
