"""Whose calls are refused because a budget is spent, laid over a plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inferno_proxy.routing.access import Client


@dataclass(frozen=True, slots=True, order=True)
class Cap:
    """What is empty narrows nothing. ``sentence`` is what callers are told; ``until`` is Unix seconds."""

    team: str
    key: str
    model: str
    sentence: str
    until: float

    def covers(self, model: str) -> bool:
        """True when calls of a model may be refused by it."""
        return self.model in ("", model)


@dataclass(frozen=True, slots=True)
class Barred:
    """Clients by name, None for everybody, whose calls of a model are refused."""

    clients: tuple[str, ...] | None
    sentence: str
    until: float


def barred(caps: Iterable[Cap], clients: Iterable[Client]) -> tuple[Barred, ...]:
    """What caps mean for the clients there are; one of a team or key that has none means nothing.

    >>> cap = Cap("search", "", "", "spent", 0.0)
    >>> barred([cap], [Client("ci", owner="search"), Client("ads")])[0].clients
    ('ci',)
    """
    found = []
    for cap in caps:
        if not cap.team and not cap.key:
            found.append(Barred(None, cap.sentence, cap.until))
            continue
        names = tuple(
            sorted(each.name for each in clients if cap.team in ("", each.team) and cap.key in ("", each.name))
        )
        if names:
            found.append(Barred(names, cap.sentence, cap.until))
    return tuple(found)
