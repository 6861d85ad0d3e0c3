"""What commitments cost, and from when on; terms of the past stay what they were."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis.commitments import Term
from inferno_governator.store.item_schema import CommitmentTerm
from inferno_governator.store.schema import table
from inferno_governator.usage import Facts

_TERM = table(CommitmentTerm)


async def read(connection: AsyncConnection) -> dict[str, list[Term]]:
    """Every term of each commitment, by its name, oldest first."""
    terms: dict[str, list[Term]] = {}
    for name, minute, price, places, origin, provider, region, instance_type in await connection.execute(
        select(_TERM).order_by(_TERM.c.name, _TERM.c.effective_minute)
    ):
        facts = Facts(
            price,
            region=region,
            instance_type=instance_type,
            provider=provider,
            origin=origin,
            commitment=name,
            committed=price,
        )
        terms.setdefault(name, []).append(Term(minute, facts, places))
    return terms


async def write(connection: AsyncConnection, terms: Mapping[str, Term]) -> None:
    """Write a term of each commitment, in the place of one from the same minute on."""
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    for name, term in terms.items():
        facts = term.facts
        row = {
            "price_micros_per_hour": facts.price,
            "places": term.places,
            "origin": facts.origin,
            "provider": facts.provider,
            "region": facts.region,
            "instance_type": facts.instance_type,
        }
        insert = make(_TERM).values(name=name, effective_minute=term.minute, **row)
        await connection.execute(
            insert.on_conflict_do_update(index_elements=[_TERM.c.name, _TERM.c.effective_minute], set_=row)
        )
