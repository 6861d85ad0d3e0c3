"""How many requests came for models, minute by minute, on all nodes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store.schema import ModelMinute, Series, table

_MODEL, _SERIES = table(ModelMinute), table(Series)


class MinuteDemand(NamedTuple):
    """What came for a model in a Unix minute: requests, failed ones included, and the tokens where they are known."""

    minute: int
    requests: int
    input_tokens: int
    output_tokens: int


async def read(connection: AsyncConnection, model: str, start_minute: int, end_minute: int) -> list[MinuteDemand]:
    """Minutes of which a node told, in order; as many as are still kept."""
    sums = [func.sum(each) for each in (_MODEL.c.requests + _MODEL.c.errors, _MODEL.c.input_tokens)]
    found = await connection.execute(
        select(_MODEL.c.minute, *sums, func.sum(_MODEL.c.output_tokens))
        .join(_SERIES, _SERIES.c.id == _MODEL.c.series)
        .where(_SERIES.c.name == model, _MODEL.c.minute >= start_minute, _MODEL.c.minute < end_minute)
        .group_by(_MODEL.c.minute)
        .order_by(_MODEL.c.minute)
    )
    return [MinuteDemand(*map(int, row)) for row in found]


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests, failed ones included, by model and minute (Unix time / 60) before ``end``. A minute in
    ``heard`` had telemetry, so a model that is not counted in it had no request; of other minutes nothing is known."""

    end: int
    heard: frozenset[int] = frozenset()
    requests: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def followed(self, newer: Demand, start: int, since: int) -> Demand:
        """The same from a minute on, with what was read anew from ``since`` on."""
        models = {*self.requests, *newer.requests}
        old = range(start, since)
        counted = {
            model: {
                **{minute: count for minute, count in self.requests.get(model, {}).items() if minute in old},
                **newer.requests.get(model, {}),
            }
            for model in models
        }
        return Demand(newer.end, frozenset(minute for minute in self.heard if minute in old) | newer.heard, counted)


async def read_all(connection: AsyncConnection, start: int, end: int) -> Demand:
    """Demand on every model from a minute until before another."""
    counted = (
        select(_SERIES.c.name, _MODEL.c.minute, func.sum(_MODEL.c.requests + _MODEL.c.errors))
        .select_from(_MODEL.join(_SERIES, _SERIES.c.id == _MODEL.c.series))
        .where(_MODEL.c.minute >= start, _MODEL.c.minute < end)
        .group_by(_SERIES.c.name, _MODEL.c.minute)
    )
    found: dict[str, dict[int, int]] = {}
    heard = set()
    for model, minute, requests in await connection.execute(counted):
        found.setdefault(model, {})[minute] = int(requests)
        heard.add(minute)
    return Demand(end, frozenset(heard), found)
