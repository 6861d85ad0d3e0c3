"""Tables of decisions. Times are Unix microseconds."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel

_NO_ROWID = {"sqlite_with_rowid": False}


class LedgerEntry(SQLModel, table=True):
    """An entry of the ledger; rows are never changed and never deleted."""

    __tablename__ = "ledger_entry"
    __table_args__ = (Index("ledger_entry_decision", "decision"), Index("ledger_entry_kind", "kind"), _NO_ROWID)

    number: int = Field(primary_key=True, sa_type=BigInteger)
    at_micros: int = Field(sa_type=BigInteger)
    kind: str
    decision: int = Field(sa_type=BigInteger)
    by: str
    # Canonical JSON.
    content: str
    # Hashes in hex.
    previous: str
    hash: str


class LedgerHead(SQLModel, table=True):
    """How long the ledger is and the hash of its last entry: one row, without which a cut-off end would not show."""

    __tablename__ = "ledger_head"
    __table_args__ = (_NO_ROWID,)

    id: int = Field(primary_key=True)
    count: int = Field(sa_type=BigInteger)
    hash: str


class IntentRow(SQLModel, table=True):
    """What is to be done to one node, and how far it has come."""

    __tablename__ = "intent"
    __table_args__ = (Index("intent_ended", "ended_micros"), Index("intent_decision", "decision"), _NO_ROWID)

    id: int = Field(primary_key=True, sa_type=BigInteger)
    decision: int = Field(sa_type=BigInteger)
    verb: str
    reason: str
    pool: str
    node: str
    instead_of: str
    saves_micros_per_hour: int = Field(sa_type=BigInteger)
    # Nothing may be done before somebody has approved it.
    waits: bool
    rehearsed: bool
    outcome: str
    sentence: str
    begun_micros: int = Field(sa_type=BigInteger)
    # When the provider was called last; 0: not yet.
    called_micros: int = Field(sa_type=BigInteger)
    calls: int
    # 0: it is under way.
    ended_micros: int = Field(sa_type=BigInteger)
    # 0: what it saved is not measured yet.
    measured_micros: int = Field(sa_type=BigInteger)
