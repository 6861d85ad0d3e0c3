"""How many requests came for a model, minute by minute, on all nodes together."""

from __future__ import annotations

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
