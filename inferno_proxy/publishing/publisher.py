"""Fleet in, snapshots out: the stage between the registry and the xDS streams.

A change goes out at once; a burst is gathered. A snapshot that contradicts itself, or that cannot be built, is refused
and the last good one stays. The last good one is kept on disk as well, for a data plane that starts alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from inferno_proxy.feedback.advice import Advice
from inferno_proxy.fleet import FleetView
from inferno_proxy.metrics.durations import WORK, Durations
from inferno_proxy.publishing.consistency import Inspector
from inferno_proxy.publishing.revisions import Revisions
from inferno_proxy.publishing.snapshot import (
    Dialect,
    Snapshot,
    last_good_path,
    read_last_good,
    same_content,
    write_last_good,
)
from inferno_proxy.reloading.quarantine import NOBODY, Quarantine, contained
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.routing.plan import RoutePlan, RoutingSettings
from inferno_proxy.routing.steering import FREE, Steering
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

_LOG = logs.get("publisher")

_ADVICE_INTERVAL = 1.0

Plan = Callable[[FleetView, RoutingSettings, Advice, Steering], RoutePlan]
Build = Callable[[RoutePlan, ResourceSettings, int, Mapping[str, tuple[int, int]]], Mapping[Dialect, Snapshot]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of both halves of the work, and the models held back between them; replacing it publishes anew."""

    routing: RoutingSettings
    resources: ResourceSettings
    quarantine: Quarantine = field(default_factory=lambda: NOBODY)


@dataclass(frozen=True, slots=True)
class Sources:
    """What a snapshot is made of."""

    fleet: Latest[FleetView]
    recipe: Latest[Recipe]
    advice: Latest[Advice] = field(default_factory=lambda: Latest(Advice()))
    steering: Latest[Steering] = field(default_factory=lambda: Latest(FREE))


@dataclass(frozen=True, slots=True)
class Pace:
    """How a burst is gathered, in seconds: until nothing changes for ``quiet``, but no longer than ``longest``.

    A change that comes ``longest`` after the last publication, or later, goes out at once. A fleet in which many nodes
    change at once will go on changing: then the publisher rests ``each_change`` for each of them, so that a storm is
    gathered and a lone change is not. Where building takes a while all the same, it rests so that it takes ``share``
    of the time at most; a build within ``light`` needs no such rest. No rest is longer than ``each_node`` times the
    fleet's nodes and ``longest_rest``: a small fleet on a slow machine, or in the first seconds of a process, is no
    storm.
    """

    quiet: float = 0.010
    longest: float = 0.100
    share: float = 0.1
    light: float = 0.050
    each_change: float = 0.010
    each_node: float = 0.001
    longest_rest: float = 5.0


def due(first: float, last: float, published: float | None, pace: Pace) -> float:
    """When to publish (monotonic seconds) changes of which the first and the last happened then, if the last
    publication happened at ``published`` (None: never)."""
    if published is None or first - published >= pace.longest:
        return first
    return min(last + pace.quiet, first + pace.longest)


def rest(took: float, nodes: int, changed: int, pace: Pace) -> float:
    """How long to rest after a build for so many nodes, of which so many had changed, that took so much CPU (other
    processes' work is no reason to rest); all in seconds."""
    heavy = took / pace.share - took if took > pace.light else 0.0
    return min(max(heavy, changed * pace.each_change), nodes * pace.each_node, pace.longest_rest)


class Publisher:
    """Publishes a snapshot for each kind of client whenever the fleet, the recipe, the advice or the
    steering changes.

    ``snapshots`` is empty until the first publication. ``refusal`` says why the newest state of the fleet is not
    published; it is empty when it is. ``planned`` is the newest plan, whatever is held back of it; ``took`` is how long
    each stage of the work takes. ``announce`` is told
    each serial before any stream can see the snapshot (see :meth:`inferno_proxy.xds.clients.ClientTable.published`).
    """

    def __init__(
        self,
        sources: Sources,
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
        self.planned = RoutePlan()
        self.took: Mapping[str, Durations] = {stage: Durations(WORK) for stage in ("plan", "build", "check")}
        self._fleet = sources.fleet
        self._recipe = sources.recipe
        self._advice = sources.advice
        self._steering = sources.steering
        self._clock = clock
        self._plan = plan
        self._build = build
        self._announce = announce
        self._directory = directory
        self._pace = pace or Pace()
        self._serial = 0
        self._published_at: float | None = None
        self._rested_at = 0.0
        self._changed = asyncio.Event()
        self._inspectors = {dialect: Inspector() for dialect in Dialect}
        self._revisions = Revisions()

    async def run(self) -> None:
        """Publish, and keep the last good snapshots on disk, until cancelled."""
        if self._directory is not None:
            self._serial = max(
                (read.serial for read in map(read_last_good, _paths(self._directory)) if read), default=0
            )
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(self._fleet), name="publisher-fleet")
            group.create_task(self._follow(self._recipe), name="publisher-recipe")
            group.create_task(self._follow(self._steering), name="publisher-steering")
            group.create_task(self._heed(), name="publisher-advice")
            group.create_task(self._spare(), name="publisher-distress")
            if self._directory is not None:
                group.create_task(self._keep(self._directory), name="publisher-disk")
            while True:
                await self._gather()
                began = time.thread_time()
                self.publish()
                took, ended = time.thread_time() - began, self._clock.monotonic()
                nodes, news = len(self._fleet.value.members), self._revisions.news
                self._rested_at = ended + rest(took, nodes, news, self._pace)

    def publish(self) -> None:
        """Build from the newest fleet and recipe and publish, unless that fails, is unsound or changes nothing."""
        view, recipe = self._fleet.value, self._recipe.value
        revisions = self._revisions.follow(view)
        serial = self._serial + 1
        try:
            with self._timed("plan"):
                self.planned = self._plan(view, recipe.routing, self._advice.value, self._steering.value)
            with self._timed("build"):
                built = self._build(contained(self.planned, recipe.quarantine), recipe.resources, serial, revisions)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one state, the last good one stays
            _LOG.error("snapshot not built", fleet_serial=view.serial, exc_info=error)
            self.refusal.set(f"The fleet's newest state cannot be built: {error}")
            return
        with self._timed("check"):
            found = {dialect: self._inspectors[dialect].inspect(made) for dialect, made in built.items()}
        wrong = [f"{dialect.value}: {why}" for dialect, sentences in found.items() for why in sentences]
        if wrong:
            _LOG.error("snapshot refused", fleet_serial=view.serial, contradictions=wrong[:10], count=len(wrong))
            self.refusal.set(f"The fleet's newest state contradicts itself: {wrong[0]}")
            return
        self.refusal.set("")
        if not _differ(self.snapshots.value, built):
            return
        self._serial = serial
        self._published_at = self._clock.monotonic()
        self._announce(serial)
        self.snapshots.set(MappingProxyType(dict(built)))
        _LOG.debug("published", serial=serial, fleet_serial=view.serial)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = self._clock.monotonic()
        yield
        self.took[stage].add(self._clock.monotonic() - began)

    async def _follow(self, source: Latest[FleetView] | Latest[Recipe] | Latest[Steering]) -> None:
        async for _ in source.watch():
            self._changed.set()

    async def _heed(self) -> None:
        """Follow the advice, whose first word in a while goes out at once, and more of it once a second."""
        async for _ in self._advice.watch():
            self._changed.set()
            await self._clock.sleep(_ADVICE_INTERVAL)

    async def _spare(self) -> None:
        """What spares a fleet in distress never waits: each moment costs it calls that it cannot do, or nodes."""
        before = self._advice.value
        async for advice in self._advice.watch():
            if _urgent(advice) != _urgent(before):
                self._changed.set()
            before = advice

    async def _gather(self) -> None:
        """Return when the changes so far are due."""
        await self._changed.wait()
        self._changed.clear()
        first = last = self._clock.monotonic()
        while (left := self._due(first, last) - self._clock.monotonic()) > 0:
            changed = await self._changes_within(left)
            last = self._clock.monotonic() if changed else last

    def _due(self, first: float, last: float) -> float:
        return max(due(first, last, self._published_at, self._pace), self._rested_at)

    async def _changes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    async def _keep(self, directory: Path) -> None:
        async for newest in self.snapshots.watch():
            for dialect, made in newest.items():
                # fsync may take long on a slow disk; the streams do not wait for it.
                await asyncio.to_thread(self._write, last_good_path(directory, dialect), made)
            await self._clock.sleep(len(self._fleet.value.members) * self._pace.each_node)

    @staticmethod
    def _write(path: Path, made: Snapshot) -> None:
        try:
            write_last_good(path, made)
        except OSError as error:
            _LOG.error(
                "last good snapshot not kept",
                path=str(path),
                reason=str(error),
                effect="a data plane that starts while this control plane is down takes an older one",
            )


def _paths(directory: Path) -> list[Path]:
    return [last_good_path(directory, dialect) for dialect in Dialect]


def _urgent(advice: Advice) -> object:
    return advice.hopeless, advice.limits, advice.quarantined


def _differ(before: Mapping[Dialect, Snapshot], after: Mapping[Dialect, Snapshot]) -> bool:
    return before.keys() != after.keys() or any(
        before[d].revisions != made.revisions or not same_content(before[d].resources, made.resources)
        for d, made in after.items()
    )
