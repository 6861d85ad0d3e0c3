"""Numbers of nodes and series: found once, then remembered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Table, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.requests import RequestKey
from inferno_governator.store.schema import Node, RequestSeries, Series, table
from inferno_governator.usage import SeriesKey

_NODE, _SERIES, _REQUESTS = table(Node), table(Series), table(RequestSeries)
# Beyond it everything is forgotten and asked for again: names come from outside, memory must not grow with them.
MOST = 200_000
# Both databases bound the parameters of one statement (SQLite 32,766, PostgreSQL 32,767).
_CHUNK = 5_000

NodeSeries = tuple[int, SeriesKey]


@dataclass(slots=True)
class Names:
    """Numbers known to be committed. A transaction works on a draft of its own, kept when it is
    committed."""

    nodes: dict[str, int] = field(default_factory=dict)
    series: dict[NodeSeries, int] = field(default_factory=dict)
    requests: dict[RequestKey, int] = field(default_factory=dict)
    most: int = MOST

    def keep(self, draft: Names) -> None:
        """Remember what a committed transaction found."""
        if len(self.nodes) + len(self.series) + len(self.requests) > self.most:
            self.nodes.clear()
            self.series.clear()
            self.requests.clear()
        self.nodes |= draft.nodes
        self.series |= draft.series
        self.requests |= draft.requests

    async def number_nodes(self, connection: AsyncConnection, wanted: Iterable[str], draft: Names) -> dict[str, int]:
        """The numbers of nodes; those never seen before are created."""
        names = set(wanted)
        missing = sorted(names - self.nodes.keys())
        for at in range(0, len(missing), _CHUNK):
            chunk = missing[at : at + _CHUNK]
            await _create(connection, _NODE, [{"name": name} for name in chunk])
            found = await connection.execute(select(_NODE.c.name, _NODE.c.id).where(_NODE.c.name.in_(chunk)))
            draft.nodes.update((name, number) for name, number in found)
        return {name: draft.nodes[name] if name in draft.nodes else self.nodes[name] for name in names}

    async def number_series(
        self, connection: AsyncConnection, wanted: Iterable[NodeSeries], draft: Names
    ) -> dict[NodeSeries, int]:
        """The numbers of series; those never seen before are created."""
        keys = set(wanted)
        missing = sorted(keys - self.series.keys())
        columns = (_SERIES.c.node, _SERIES.c.kind, _SERIES.c.name, _SERIES.c.version)
        for at in range(0, len(missing), _CHUNK):
            chunk = missing[at : at + _CHUNK]
            await _create(connection, _SERIES, [{"node": node, **key._asdict()} for node, key in chunk])
            found = await connection.execute(
                select(*columns, _SERIES.c.id).where(tuple_(*columns).in_([(node, *key) for node, key in chunk]))
            )
            for node, kind, name, version, number in found:
                draft.series[node, SeriesKey(kind, name, version)] = number
        return {key: draft.series[key] if key in draft.series else self.series[key] for key in keys}

    async def number_requests(
        self, connection: AsyncConnection, wanted: Iterable[RequestKey], draft: Names
    ) -> dict[RequestKey, int]:
        """The numbers of what proxies count apart; those never seen before are created."""
        keys = set(wanted)
        missing = sorted(keys - self.requests.keys())
        columns = [_REQUESTS.c[name] for name in RequestKey._fields]
        for at in range(0, len(missing), _CHUNK):
            chunk = missing[at : at + _CHUNK]
            await _create(connection, _REQUESTS, [key._asdict() for key in chunk])
            found = await connection.execute(
                select(*columns, _REQUESTS.c.id).where(tuple_(*columns).in_([tuple(key) for key in chunk]))
            )
            for *key, number in found:
                draft.requests[RequestKey(*key)] = number
        return {key: draft.requests[key] if key in draft.requests else self.requests[key] for key in keys}


async def _create(connection: AsyncConnection, target: Table, rows: list[dict[str, object]]) -> None:
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    await connection.execute(make(target).on_conflict_do_nothing(), rows)
