"""Other names of models: what a call by an alias is a call of.

A model that the fleet has comes before an alias of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import FleetView
from inferno_runtime.latest import Latest


@dataclass(frozen=True, slots=True)
class Alias:
    """The model that serves the calls, and the version that those get which name none; empty is the model's policy."""

    model: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.model}@{self.version}" if self.version else self.model


# Digits of the largest version that a model server counts to (int64).
_LONGEST_VERSION = 19
# The aliases that are configured now.
Aliases = Callable[[], Mapping[str, Alias]]


def no_aliases() -> Mapping[str, Alias]:
    """Nothing has another name."""
    return MappingProxyType({})


def parse_alias(text: str) -> Alias:
    """Read ``MODEL`` or ``MODEL@VERSION``; a version is a number.

    >>> parse_alias("filetype"), parse_alias("filetype@2"), parse_alias("me@home")
    (Alias(model='filetype', version=''), Alias(model='filetype', version='2'), Alias(model='me@home', version=''))
    """
    model, at, version = text.rpartition("@")
    if at and model and version.isascii() and version.isdigit() and len(version) <= _LONGEST_VERSION:
        return Alias(model, version)
    return Alias(text)


def in_force(aliases: Mapping[str, Alias], models: Iterable[str]) -> Mapping[str, Alias]:
    """The aliases that hold while the fleet knows these models: a model of an alias's name comes before the alias."""
    taken = set(models)
    return MappingProxyType({name: alias for name, alias in sorted(aliases.items()) if name not in taken})


def stands_for(name: str, aliases: Mapping[str, Alias], models: Container[str]) -> Alias:
    """What a name means while the fleet knows these models; a name that is no alias stands for itself."""
    return Alias(name) if name in models else aliases.get(name, Alias(name))


async def report_taken(aliases: Aliases, view: Latest[FleetView], events: EventLog) -> None:
    """Say when a model of the fleet takes an alias's name, and when it gives it back. Runs until cancelled."""
    before: dict[str, Alias] = {}
    async for fleet in view.watch():
        chosen = aliases()
        # A large fleet is not looked through at each of its changes for nothing.
        models = {model.name for member in fleet.members.values() for model in member.node.models} if chosen else ()
        now = {name: alias for name, alias in sorted(chosen.items()) if name in models}
        for name in now.keys() - before.keys():
            events.add("ALIAS_TAKEN", name, f"The fleet has a model {name!r}: its alias to {now[name]} does not hold.")
        for name in before.keys() - now.keys():
            events.add("ALIAS_BACK", name, f"No node has a model {name!r} now: its alias to {before[name]} holds.")
        before = now
