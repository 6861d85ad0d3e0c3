"""Sums over Envoys that come and go: a counter never falls because a process was replaced."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain

from inferno_proxy.metrics.translation import FAMILIES, Key, Kind, Reading

_NAMES = {family.name: family for family in FAMILIES}


class Account:
    """What each living Envoy showed last, by a name for its life, and what those that ended had counted."""

    def __init__(self) -> None:
        self._living: dict[str, Reading] = {}
        self._ended: dict[Key, float] = {}

    @property
    def living(self) -> Collection[str]:
        """The lives that were taken and have not ended."""
        return self._living.keys()

    def take(self, life: str, reading: Reading) -> None:
        """Take what an Envoy shows. What has fallen began anew (Envoy forgets a model that left): what was there
        before counts on."""
        for key, was in self._living.get(life, {}).items():
            if reading.get(key, 0.0) < was:
                self._count(key, was)
        self._living[life] = reading

    def end(self, life: str) -> None:
        """Keep the counters of an Envoy that is gone."""
        for key, was in self._living.pop(life, {}).items():
            self._count(key, was)

    def totals(self) -> dict[Key, float]:
        """The figures now: counters of all lives, gauges of the living."""
        sums = dict(self._ended)
        for key, value in chain.from_iterable(reading.items() for reading in self._living.values()):
            before = sums.get(key, 0.0)
            sums[key] = max(before, value) if key.family.largest else before + value
        return sums

    def written(self) -> dict[str, object]:
        """For a file."""
        return {
            "ended": _rows(self._ended),
            "living": {life: _rows(reading) for life, reading in self._living.items()},
        }

    @staticmethod
    def read(document: Mapping[str, object]) -> Account:
        """What :meth:`written` gave; families that are no more are left out.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        account = Account()
        account._ended = _figures(document["ended"])
        living = document["living"]
        if not isinstance(living, dict):
            raise TypeError("living is no mapping")
        account._living = {life: _figures(rows) for life, rows in living.items()}
        return account

    def _count(self, key: Key, value: float) -> None:
        if key.family.kind is not Kind.GAUGE:
            self._ended[key] = self._ended.get(key, 0.0) + value


def _rows(figures: Reading) -> list[object]:
    return [[key.family.name, key.labels, key.part, value] for key, value in figures.items()]


def _figures(rows: object) -> dict[Key, float]:
    if not isinstance(rows, list):
        raise TypeError("figures are no list")
    return {
        Key(_NAMES[name], tuple(map(str, labels)), str(part)): float(value)
        for name, labels, part, value in rows
        if name in _NAMES
    }
