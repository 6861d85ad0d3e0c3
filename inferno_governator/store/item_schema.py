"""Tables of the books: items by hour and day, and what of them is open or sealed. Units are as in the schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, UniqueConstraint
from sqlmodel import Field, SQLModel

_NO_ROWID = {"sqlite_with_rowid": False}


class ItemSeries(SQLModel, table=True):
    """One use of a node: what items are of. Rows are never deleted: other processes may hold their numbers."""

    __tablename__ = "item_series"
    __table_args__ = (UniqueConstraint("node", "purpose", "model", "version", "team", "key", name="item_series_key"),)

    id: int | None = Field(default=None, primary_key=True)
    node: int = Field(foreign_key="node.id")
    # 0 work, 1 idle, 2 overhead.
    purpose: int
    model: str
    version: str
    team: str
    key: str


class ItemFacts(SQLModel, table=True):
    """A price and nature that nodes had while items were billed. Rows are never deleted, as of item_series."""

    __tablename__ = "item_facts"

    id: int | None = Field(default=None, primary_key=True)
    # The fields of Facts as JSON in the order of their names: nothing asks for one of them, and there are few rows.
    said: str = Field(unique=True)


class _ItemCounts(SQLModel):
    """What was billed in a stretch of time, under its first minute."""

    minute: int = Field(primary_key=True, sa_type=BigInteger)
    series: int = Field(primary_key=True, foreign_key="item_series.id")
    facts: int = Field(primary_key=True, foreign_key="item_facts.id")
    paid_micros: int = Field(sa_type=BigInteger)
    cost_micros: int = Field(sa_type=BigInteger)
    requests: int = Field(sa_type=BigInteger)
    errors: int = Field(sa_type=BigInteger)
    inferences: int = Field(sa_type=BigInteger)
    input_tokens: int = Field(sa_type=BigInteger)
    output_tokens: int = Field(sa_type=BigInteger)
    request_micros: int = Field(sa_type=BigInteger)
    queue_micros: int = Field(sa_type=BigInteger)
    compute_micros: int = Field(sa_type=BigInteger)
    committed_micros: int = Field(sa_type=BigInteger)


class ItemHour(_ItemCounts, table=True):
    """What was billed in an hour: the sum of its minutes."""

    __tablename__ = "item_hour"
    __table_args__ = (_NO_ROWID,)


class ItemDay(_ItemCounts, table=True):
    """What was billed in a day (UTC): the sum of its hours."""

    __tablename__ = "item_day"
    __table_args__ = (_NO_ROWID,)


class CommitmentTerm(SQLModel, table=True):
    """What a commitment costs, used or not, from a minute on, until its next row. Rows are few and never deleted."""

    __tablename__ = "commitment_term"
    __table_args__ = (_NO_ROWID,)

    name: str = Field(primary_key=True)
    effective_minute: int = Field(primary_key=True, sa_type=BigInteger)
    # 0: it is over.
    price_micros_per_hour: int = Field(sa_type=BigInteger)
    # Machines that it covers whole; 0: it is a savings plan.
    places: int
    # As price_origin of node_facts.
    origin: str
    # Which machines it is about, where it is about one cloud, region or type; empty otherwise.
    provider: str
    region: str
    instance_type: str


class OpenHour(SQLModel, table=True):
    """An hour of a node whose items are not those of its minutes: something came since."""

    __tablename__ = "open_hour"
    __table_args__ = (_NO_ROWID,)

    minute: int = Field(primary_key=True, sa_type=BigInteger)
    node: int = Field(primary_key=True, foreign_key="node.id")
    # How many of its minutes, from the first on, its items hold all the same; 0: its items are to be made anew.
    settled: int = Field(default=0)


class OpenDay(SQLModel, table=True):
    """A day of a node whose items are not those of its hours. A node's open hour lies in an open day."""

    __tablename__ = "open_day"
    __table_args__ = (_NO_ROWID,)

    minute: int = Field(primary_key=True, sa_type=BigInteger)
    node: int = Field(primary_key=True, foreign_key="node.id")


class Sealed(SQLModel, table=True):
    """Up to where a level of roll-ups may be deleted: before it, the coarser level is all there is."""

    __tablename__ = "sealed"
    __table_args__ = (_NO_ROWID,)

    # In minutes: 1 or 60.
    length: int = Field(primary_key=True)
    minute: int = Field(sa_type=BigInteger)
