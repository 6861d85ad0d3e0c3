"""Whose requests the proxies are to refuse: set by whoever watches budgets, told to every proxy that asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from inferno_runtime.latest import Latest

# More than this a proxy would not take.
MOST = 1000


class Cap(NamedTuple):
    """One refusal. What is empty narrows nothing; ``until`` is Unix seconds, ``reason`` a few words."""

    team: str
    key: str
    model: str
    until: int
    reason: str


@dataclass(frozen=True, slots=True)
class _State:
    caps: tuple[Cap, ...] | None = None
    closed: bool = False


class Caps:
    """The caps that hold. Before the first :meth:`set` nobody is told anything: a governator that has just started
    must not lift what holds."""

    def __init__(self) -> None:
        self._state = Latest(_State())

    def set(self, caps: Iterable[Cap]) -> None:
        """From now on these hold, and no others."""
        self._state.set(replace(self._state.value, caps=tuple(sorted(set(caps)))[:MOST]))

    def close(self) -> None:
        """Let every :meth:`watch` end."""
        self._state.set(replace(self._state.value, closed=True))

    async def watch(self) -> AsyncIterator[tuple[Cap, ...]]:
        """All of them, once they are known and after each change."""
        async for state in self._state.watch():
            if state.closed:
                return
            if state.caps is not None:
                yield state.caps
