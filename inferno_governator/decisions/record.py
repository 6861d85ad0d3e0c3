"""A decision as the ledger keeps it, and the same decision made again from what the ledger has kept. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inferno_governator.decisions import canonical
from inferno_governator.decisions.entry import Entry
from inferno_governator.decisions.fleet import FleetFacts
from inferno_governator.decisions.history import Action
from inferno_governator.decisions.mode import Mode
from inferno_governator.decisions.proposal import Ruling
from inferno_governator.policies.deciding import DecidingSettings, decide


@dataclass(frozen=True, slots=True)
class Record:
    """What one look decided: from what, by which settings, and what was thought of.

    Decided from the values as they come back from their text: what is replayed later is what was seen then.
    """

    mode: Mode
    facts: FleetFacts
    settings: DecidingSettings
    history: tuple[Action, ...]
    rulings: tuple[Ruling, ...]

    @property
    def signature(self) -> tuple[tuple[str, ...], ...]:
        """What tells this look from one that found the same, whatever the figures were."""
        return tuple(
            (each.proposal.verb.value, each.proposal.pool, each.proposal.node, each.proposal.reason.value, each.guard)
            for each in self.rulings
        )

    @property
    def fired(self) -> str:
        """The rule of which something is allowed; empty where everything is forbidden."""
        return next((each.proposal.reason.value for each in self.rulings if each.allowed), "")

    def content(self) -> dict[str, Any]:
        """As plain values, for the ledger."""
        return {
            "mode": self.mode.value,
            "facts": canonical.plain(self.facts),
            "settings": self.settings.model_dump(mode="json"),
            "history": [canonical.plain(each) for each in self.history],
            "rulings": [canonical.plain(each) for each in self.rulings],
            "fired": self.fired,
        }


def decided(mode: Mode, facts: FleetFacts, settings: DecidingSettings, history: Sequence[Action]) -> Record:
    """Decide.

    Raises:
        ValueError: A figure is infinite or none.
    """
    seen = canonical.read(FleetFacts, json.loads(canonical.text(canonical.plain(facts))))
    done = tuple(canonical.read(Action, canonical.plain(each)) for each in history)
    return Record(mode, seen, settings, done, tuple(decide(seen, settings, done)))


def read(entry: Entry) -> Record:
    """What an entry of the kind DECISION tells.

    Raises:
        ValueError, KeyError, TypeError: It was written by another version in a way that this one cannot read.
    """
    said = json.loads(entry.content)
    return Record(
        Mode(said["mode"]),
        canonical.read(FleetFacts, said["facts"]),
        DecidingSettings.model_validate(said["settings"]),
        tuple(canonical.read(Action, each) for each in said["history"]),
        tuple(canonical.read(Ruling, each) for each in said["rulings"]),
    )


def differs(entry: Entry) -> str:
    """Decide again from what the entry has kept: the first difference, for people; empty when there is none."""
    try:
        then = read(entry)
        now = decided(then.mode, then.facts, then.settings, then.history)
    except (ValueError, KeyError, TypeError) as error:
        return f"it cannot be read by this version ({error})"
    for place, (old, new) in enumerate(zip(then.rulings, now.rulings, strict=False), 1):
        was, becomes = canonical.plain(old), canonical.plain(new)
        if was != becomes:
            return f"ruling {place}: {_difference(was, becomes)}"
    if len(then.rulings) != len(now.rulings):
        return f"it made {len(then.rulings)} rulings, and makes {len(now.rulings)} now"
    return ""


def _difference(was: Any, becomes: Any, where: str = "") -> str:
    if isinstance(was, dict) and isinstance(becomes, dict):
        for name in sorted({*was, *becomes}):
            if was.get(name) != becomes.get(name):
                return _difference(was.get(name), becomes.get(name), f"{where}.{name}" if where else name)
    return f"{where} was {was!r} and is {becomes!r}"
