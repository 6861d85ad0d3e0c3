"""What stands between a bad configuration and the data planes, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from inferno_proxy.envoy.canary import Canary
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import FleetView
from inferno_proxy.orders.order import Book
from inferno_proxy.publishing.publisher import Publisher, Recipe
from inferno_proxy.publishing.snapshot import Dialect, Snapshot
from inferno_proxy.registry.registry import Registry
from inferno_proxy.reloading.alarms import Alarms
from inferno_proxy.reloading.rehearsal import Rehearsal
from inferno_proxy.reloading.reload import Comparison, Reloader
from inferno_proxy.reloading.warden import Warden
from inferno_proxy.resources import ResourceSettings, build
from inferno_proxy.routing.plan import RoutePlan, plan
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import HandOver
from inferno_proxy.supervisor.layout import Layout
from inferno_proxy.xds.clients import ClientTable
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest


@dataclass(frozen=True, slots=True)
class Watched:
    """The parts of a control plane that its safeguards look at."""

    registry: Registry
    publisher: Publisher
    recipes: Latest[Recipe]
    clients: ClientTable
    events: EventLog
    alarms: Alarms


def safeguards(
    handed: HandOver,
    layout: Layout,
    watched: Watched,
    clock: Clock,
    recipe_of: Callable[[ProxySettings], Recipe],
    orders: Book,
) -> tuple[Reloader, Warden]:
    """Who changes the settings in force, and who holds models back.

    ``orders`` are those of an earlier life.
    With ``healing`` off, settings are changed without a trial; the owner then leaves the warden out as well.
    """
    recipes, healing = watched.recipes, handed.settings.healing
    canary = Canary(layout.canary, clock)

    def staged(view: FleetView, settings: ProxySettings) -> Snapshot:
        recipe = recipe_of(settings)
        return _for_envoy(plan(view, recipe.routing), recipe.resources)

    rehearsal = Rehearsal(canary, lambda: watched.registry.view.value, staged)

    async def rehearse(before: ProxySettings, comparison: Comparison) -> None:
        if healing:
            await rehearsal.check(before, comparison)

    def put(settings: ProxySettings) -> None:
        recipes.set(replace(recipe_of(settings), quarantine=recipes.value.quarantine))

    def keep(fresh: HandOver) -> None:
        fresh.write(layout.plan)
        if healing:
            fresh.write(layout.proven)

    reloader = Reloader(handed, watched.events, rehearse=rehearse, put=put, keep=keep, orders=orders)
    warden = Warden(
        watched.publisher,
        recipes,
        watched.clients,
        canary,
        watched.events,
        watched.alarms,
        stage=_for_envoy,
        place=reloader.where,
    )
    return reloader, warden


def _for_envoy(made: RoutePlan, resources: ResourceSettings) -> Snapshot:
    return build(made, resources, 1, {})[Dialect.ENVOY]
