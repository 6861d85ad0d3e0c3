"""Fleet in, snapshots out: the stage between the registry and the xDS streams.

A change goes out at once; a burst is gathered. A snapshot that contradicts itself, or that cannot be built, is refused
and the last good one stays. The last good one is kept on disk as well, for a data plane that starts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from inferno_proxy.fleet import FleetView
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.routing import RoutePlan, RoutingSettings
from inferno_proxy.snapshot import Dialect, Snapshot
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

_LOG = logs.get("publisher")

Plan = Callable[[FleetView, RoutingSettings], RoutePlan]
Build = Callable[[RoutePlan, ResourceSettings, int, Mapping[str, tuple[int, int]]], Mapping[Dialect, Snapshot]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of both halves of the work; replacing them publishes anew."""

    routing: RoutingSettings
    resources: ResourceSettings


@dataclass(frozen=True, slots=True)
class Pace:
    """How a burst is gathered, in seconds: until nothing changes for ``quiet``, but no longer than ``longest``. A change
    that comes ``longest`` after the last publication, or later, goes out at once."""

    quiet: float = 0.010
    longest: float = 0.100


def due(first: float, last: float, published: float | None, pace: Pace) -> float:
    """When to publish (monotonic seconds) changes of which the first and the last happened then, if the last
    publication happened at ``published`` (None: never)."""
    if published is None or first - published >= pace.longest:
        return first
    return min(last + pace.quiet, first + pace.longest)


class Publisher:
    """Publishes a snapshot for each kind of client whenever the fleet or the recipe changes.

    ``snapshots`` is empty until the first publication. ``refusal`` says why the newest state of the fleet is not
    published; it is empty when it is. ``announce`` is told each serial before any stream can see the snapshot (see
    :meth:`inferno_proxy.xds.clients.ClientTable.published`).
    """

    def __init__(
        self,
        fleet: Latest[FleetView],
        recipe: Latest[Recipe],
        clock: Clock,
        *,
        plan: Plan,
        build: Build,
        announce: Callable[[int], None] = lambda _: None,
        directory: Path | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.snapshots: Latest[Mapping[Dialect, Snapshot]] = Latest(MappingProxyType({}))
        self.refusal: Latest[str] = Latest("")
        self._fleet = fleet
        self._recipe = recipe
        self._clock = clock
        self._plan = plan
        self._build = build
        self._announce = announce
        self._directory = directory
        self._pace = pace or Pace()
        self._serial = 0

    async def run(self) -> None:
        """Publish, and keep the last good snapshots on disk, until cancelled."""
        raise NotImplementedError
