"""Rules for models that no node has: no mistake, for the model may come, and yet what a misspelt name looks like."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import FleetView
from inferno_proxy.publishing.publisher import Recipe
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

_LOOK_EVERY = 1.0
# Seconds a rule waits for its model before anybody hears of it: nodes that start together with the proxy take as long.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The models that have a rule, in the recipe in force, and where a model's rule stands (``FILE:LINE``)."""

    recipe: Latest[Recipe]
    where: Callable[[str], str]

    @property
    def models(self) -> frozenset[str]:
        """Every model that has a rule of its own."""
        return frozenset(self.recipe.value.routing.traffic.models)


async def report_unserved(
    rules: Rules, view: Latest[FleetView], events: EventLog, clock: Clock, patience: float = PATIENCE
) -> None:
    """Say once of each rule that no node has its model, and say so when one has. Runs until cancelled."""
    waiting: Mapping[str, float] = {}
    told: set[str] = set()
    while True:
        ruled, now = rules.models, clock.monotonic()
        told &= ruled
        # A large fleet is not looked through for nothing.
        members = view.value.members.values() if ruled else ()
        served = {model.name for member in members for model in member.node.models}
        for name in sorted(told.intersection(served)):
            events.add("RULE_SERVED", name, f"A node has the model {name!r} now: its rule holds.")
        told.difference_update(served)
        waiting = {name: waiting.get(name, now) for name in ruled.difference(served, told)}
        for name in sorted(name for name, since in waiting.items() if now - since >= patience):
            where = await asyncio.to_thread(rules.where, name)
            events.add("RULE_UNSERVED", name, _sentence(name, where, served))
            told.add(name)
        await clock.sleep(_LOOK_EVERY)


def _sentence(name: str, where: str, served: set[str]) -> str:
    """What is said of a rule that nobody serves.

    >>> _sentence("fyletype", "i.yaml:4", {"filetype"})
    "i.yaml:4: proxy.models.fyletype: no node has such a model yet. Was 'filetype' meant?"
    """
    near = difflib.get_close_matches(name, sorted(served), n=1, cutoff=0.6)
    meant = f" Was {near[0]!r} meant?" if near else " The rule holds once one has."
    return f"{where}: proxy.models.{name}: no node has such a model yet.{meant}".removeprefix("default: ")
