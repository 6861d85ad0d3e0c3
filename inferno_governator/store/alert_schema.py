"""Tables of alerts and of objectives. Times are Unix microseconds."""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, Index
from sqlmodel import Field, SQLModel

_NO_ROWID = {"sqlite_with_rowid": False}


class AlertRow(SQLModel, table=True):
    """An alert, as it was told last."""

    __tablename__ = "alert"
    __table_args__ = (Index("alert_end", "end_micros"), _NO_ROWID)

    fingerprint: str = Field(primary_key=True)
    start_micros: int = Field(primary_key=True, sa_type=BigInteger)
    # None: it lasts.
    end_micros: int | None = Field(sa_type=BigInteger)
    kind: str
    subject: str
    # As on the wire: 1 info, 2 warning, 3 critical.
    severity: int
    cause: str
    next_step: str
    # A JSON object of text.
    evidence: str
    silenced_until_micros: int = Field(sa_type=BigInteger)


class AlertTold(SQLModel, table=True):
    """The last that a receiver was told of an alert."""

    __tablename__ = "alert_told"
    __table_args__ = (Index("alert_told_time", "told_micros"), _NO_ROWID)

    receiver: str = Field(primary_key=True)
    fingerprint: str = Field(primary_key=True)
    start_micros: int = Field(primary_key=True, sa_type=BigInteger)
    severity: int
    ended: bool
    told_micros: int = Field(sa_type=BigInteger)


class ObjectiveRow(SQLModel, table=True):
    """What a model promises; those of the settings file are not here."""

    __tablename__ = "objective"
    __table_args__ = (_NO_ROWID,)

    model: str = Field(primary_key=True)
    share: float = Field(sa_type=Double)
    # 0: not promised.
    latency_micros: int = Field(sa_type=BigInteger)
    queue_micros: int = Field(sa_type=BigInteger)
    days: int
