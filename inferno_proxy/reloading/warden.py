"""Finds the model whose configuration a data plane refuses or ends under, and puts it into quarantine.

Either says that something may be wrong, and seldom of which model; it may also be a foreign client's own limit. So a
canary Envoy is asked: what it takes stays as it is. Otherwise the offender is found by bisection over the models that
changed since all was well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

from inferno_proxy.envoy.canary import Canary
from inferno_proxy.envoy.probes import probes
from inferno_proxy.events import EventLog
from inferno_proxy.publishing.publisher import Publisher, Recipe
from inferno_proxy.publishing.snapshot import Dialect, Snapshot
from inferno_proxy.reloading.alarms import Alarms
from inferno_proxy.reloading.quarantine import NOBODY, Quarantine, contained, ended, hold, suspects, treatments, without
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.routing.plan import RoutePlan
from inferno_proxy.xds.clients import Client, ClientTable, SyncState
from inferno_runtime import logs
from inferno_runtime.errors import Unavailable
from inferno_runtime.latest import Latest

_LOG = logs.get("quarantine")
Stage = Callable[[RoutePlan, ResourceSettings], Snapshot]

_MOST_PROBED = 100


class Warden:
    """Watches over what is published, and looks when one of the ``alarms`` rings.

    ``stage`` builds what an Envoy would get for a plan. ``place`` says where the settings of a model stand, or
    ``default``.
    """

    def __init__(
        self,
        publisher: Publisher,
        recipes: Latest[Recipe],
        clients: ClientTable,
        canary: Canary,
        events: EventLog,
        alarms: Alarms,
        *,
        stage: Stage,
        place: Callable[[str], str],
    ) -> None:
        self._alarms = alarms
        self._publisher = publisher
        self._recipes = recipes
        self._clients = clients
        self._canary = canary
        self._events = events
        self._stage = stage
        self._place = place
        self._accepted: tuple[RoutePlan, Quarantine] = RoutePlan(), NOBODY

    async def run(self) -> None:
        """Watch, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._remember(), name="warden-accepted")
            group.create_task(self._release(), name="warden-release")
            group.create_task(self._failures(), name="warden-failures")
            async for count in self._alarms.count.watch():
                if count:
                    unsteady = frozenset(self._alarms.unsteady)
                    await self._look()
                    self._alarms.unsteady -= unsteady

    async def _remember(self) -> None:
        async for applied in self._clients.applied.watch():
            newest = max((each.serial for each in self._publisher.snapshots.value.values()), default=0)
            envoys = [each for each in self._clients.clients if each.dialect is Dialect.ENVOY]
            if applied == newest and envoys and not any(map(_refusal, envoys)):
                self._accepted = self._publisher.planned, self._recipes.value.quarantine

    async def _release(self) -> None:
        async for _ in self._publisher.snapshots.watch():
            recipe = self._recipes.value
            over = ended(recipe.quarantine, self._publisher.planned)
            if over:
                left = {name: held for name, held in recipe.quarantine.items() if name not in over}
                self._recipes.set(replace(recipe, quarantine=MappingProxyType(left)))
            for name in over:
                self._events.add(
                    "CONFIG_RELEASED", name, "What was refused of it has changed; it is tried as it is now."
                )

    async def _failures(self) -> None:
        async for why in self._publisher.refusal.watch():
            if why:
                self._alarms.ring()

    async def _look(self) -> None:
        """Hold back each model that does harm in what is published now."""
        try:
            # Each round takes one model a step further, of which there are three, so this ends.
            while True:
                by = self._refused_by()
                plan, recipe = self._publisher.planned, self._recipes.value
                mended = contained(plan, recipe.quarantine)
                if not by or not (wrong := await self._wrong(mended, recipe)):
                    return
                name = await self._offender(mended, recipe)
                if name is None:
                    self._events.add(
                        "CONFIG_REFUSED", "", f"{by} the configuration, and no model is to blame: {wrong}."
                    )
                    return
                self._hold(name, plan, by, wrong)
        except Unavailable as error:
            _LOG.error("refused configuration not looked into", reason=error.sentence())

    def _refused_by(self) -> str:
        """Who does not take what is published now, with a verb; empty when there is nobody."""
        if self._publisher.refusal.value:
            return "The control plane refuses"
        refusing = [
            each.client_id for each in self._clients.clients if each.dialect is Dialect.ENVOY and _refusal(each)
        ]
        if refusing:
            return f"Envoy {refusing[0]!r} refuses"
        return f"Envoy {min(self._alarms.unsteady)!r} keeps ending under" if self._alarms.unsteady else ""

    def _hold(self, name: str, plan: RoutePlan, by: str, wrong: str) -> None:
        recipe = self._recipes.value
        held = hold(recipe.quarantine, plan.models[name], treatments(*self._accepted).get(name))
        self._recipes.set(replace(recipe, quarantine=MappingProxyType({**recipe.quarantine, name: held})))
        self._publisher.publish()
        place = self._place(name)
        self._events.healed(
            "CONFIG_QUARANTINED",
            name,
            cause=f"{by} the configuration that the model {name!r} leads to",
            evidence=wrong if place == "default" else f"{place}: {wrong}",
            effect=f"{held.step.effect} until its settings or the model itself change",
        )

    async def _offender(self, plan: RoutePlan, recipe: Recipe) -> str | None:
        """The first model that does harm on top of those before it; None when it is none of them."""
        changed = suspects(plan, treatments(*self._accepted))
        for several in (changed, list(plan.models)):
            if several and not await self._wrong(without(plan, several), recipe):
                break
        else:
            return None
        good, bad = 0, len(several)
        while bad - good > 1:
            middle = (good + bad) // 2
            if await self._wrong(without(plan, several[middle:]), recipe):
                bad = middle
            else:
                good = middle
        return several[bad - 1]

    async def _wrong(self, plan: RoutePlan, recipe: Recipe) -> str:
        """What is wrong with a plan, in a clause; empty when a canary takes it."""
        bare = without(plan, ())
        try:
            snapshot = await asyncio.to_thread(self._stage, bare, recipe.resources)
        except Exception as error:  # noqa: BLE001 - whatever building raises is what is wrong
            return f"it cannot be built ({' '.join(str(error).split()).rstrip('.')})"
        return await self._canary.verdict(snapshot, probes(list(bare.models)[:_MOST_PROBED]))


def _refusal(client: Client) -> str:
    """Why a client refuses what it was sent last; empty when it does not."""
    return next((each.reason for each in client.types.values() if each.state is SyncState.NACKED), "")
