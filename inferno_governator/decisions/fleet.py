"""What a decision is made from: the fleet at one moment, frozen. Money is in micro-dollars, times in Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class NodeState(Enum):
    """What a node does now, as far as anybody has told."""

    # A provider was asked for it, and it has not taken traffic yet.
    STARTING = "starting"
    SERVING = "serving"
    # It finishes what it has and gets nothing new.
    DRAINING = "draining"
    # It is there and can do no work.
    SICK = "sick"
    # Nothing has been heard of it for longer than its lease.
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node now.

    Attributes:
        node: Its name, the one it registers by.
        pool: The pool it belongs to; empty for a node that is in none, which is never started or stopped.
        ours: A provider has it tagged as started by this governator: only such a node is ever stopped.
        models: Models it serves or, while it starts, will serve.
        running: Requests on it now, queued ones included.
        busy: Share of its capacity in use over the last minutes, 0 to 1.
        idle_since: Since when it has had no request; None while it has one.
        since: When it came into its state.
        micros_per_hour: What it costs.
        notice_at: When its machine is taken back, by a spot notice; None without one.
        why: The sentence that says what is wrong with it; empty while nothing is.
        zone: Region, or region and zone, that can fail as one.
    """

    node: str
    pool: str
    state: NodeState
    models: tuple[str, ...]
    since: float
    micros_per_hour: int
    ours: bool = False
    running: int = 0
    busy: float = 0.0
    idle_since: float | None = None
    notice_at: float | None = None
    spot: bool = False
    zone: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model now.

    Attributes:
        rate: Requests a second over the last minutes.
        forecast: The highest rate expected until a node that is started now serves, requests a second.
        queued: Requests that wait in nodes.
        latency: Latency of the objective's quantile over the last minutes, in seconds; 0 where none was served.
        objective: Latency that is promised, in seconds; 0 where nothing is.
        burning: The objective is being missed, or is about to be: why, in a sentence; empty otherwise.
        minimum: Nodes that must serve it whatever happens.
        recent: Rates measured lately, oldest first, each with when it ended: at least as far back as the slowest pool
            takes to start a node. Without them no node is stopped for being under-utilised.
    """

    model: str
    rate: float = 0.0
    forecast: float = 0.0
    queued: float = 0.0
    latency: float = 0.0
    objective: float = 0.0
    burning: str = ""
    minimum: int = 1
    recent: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """Nodes of one kind that a provider can start and stop.

    Attributes:
        provider: Name of the provider, for example ``local`` or ``aws``.
        models: Models that its nodes serve.
        capacity: Requests a second that one node serves within the objective, by model; no entry where nobody has
            measured it.
        boot_seconds: From the call that starts a node to its first traffic, as measured; as configured before that.
        micros_per_hour: What one node costs.
        minimum: Nodes that there are at least.
        maximum: Nodes that there may be at most.
        unpriced: Why its price may not be acted on; empty when it may.
    """

    pool: str
    provider: str
    models: tuple[str, ...]
    micros_per_hour: int
    boot_seconds: float
    minimum: int = 0
    maximum: int = 1
    spot: bool = False
    zone: str = ""
    capacity: Mapping[str, float] = field(default_factory=dict)
    unpriced: str = ""


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """All that a decision may depend on.

    Attributes:
        at: The moment it describes.
        ages: How old each input is, in seconds, by its name (``telemetry``, ``prices``, ``providers``).
        over_budget: What of the budget is passed, in a sentence; empty when nothing is.
    """

    at: float
    nodes: tuple[NodeFacts, ...] = ()
    models: tuple[ModelFacts, ...] = ()
    pools: tuple[PoolFacts, ...] = ()
    ages: Mapping[str, float] = field(default_factory=dict)
    over_budget: str = ""
