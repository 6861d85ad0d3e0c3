"""What providers announce to their machines: from the wire to a value, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1 import notice_pb2
from inferno_runtime.errors import InvalidInput

# Nobody reads more at once, and no fleet is told more within an hour.
MOST = 10_000
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{0,256}")
_MAX_INT64 = 2**63 - 1
# The years that a Timestamp may name, in seconds.
_LAST_SECOND = 253_402_300_799


class Kind(IntEnum):
    """What a notice is about; the numbers are those of the wire and of the store."""

    RECLAIM = notice_pb2.NOTICE_KIND_RECLAIM
    REBALANCE = notice_pb2.NOTICE_KIND_REBALANCE
    MAINTENANCE = notice_pb2.NOTICE_KIND_MAINTENANCE


@dataclass(frozen=True, slots=True)
class Notice:
    """One announcement. Times are Unix microseconds; ``reclaim_micros`` None: the provider does not say when."""

    node_id: str
    incarnation: int
    kind: Kind
    action: str
    noticed_micros: int
    reclaim_micros: int | None = None
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    instance_id: str = ""
    spot: bool = False


@dataclass(frozen=True, slots=True)
class StoredNotice:
    """A notice, and when it was on disk first (Unix microseconds)."""

    notice: Notice
    stored_micros: int


def decode(message: notice_pb2.ProviderNotice) -> Notice:
    """Turn a notice into a value.

    Raises:
        InvalidInput: A field is impossible; the sentence names it.
    """
    if not _NODE_ID.fullmatch(message.node_id):
        raise _refusal("node_id", f"{message.node_id[:140]!r} is not 1 to 128 letters, digits, '.', '_' or '-'")
    if not 0 < message.incarnation <= _MAX_INT64:
        raise _refusal("incarnation", f"{message.incarnation} is not between 1 and 2^63-1")
    if int(message.kind) not in {each.value for each in Kind}:
        raise _refusal("kind", f"{message.kind} is none that this governator knows")
    for name in ("action", "provider", "region", "zone", "instance_type", "instance_id"):
        if not _TEXT.fullmatch(getattr(message, name)):
            raise _refusal(name, "it holds control characters or is longer than 256")
    reclaim = _micros("reclaim_time", message.reclaim_time) if message.HasField("reclaim_time") else None
    return Notice(
        message.node_id,
        message.incarnation,
        Kind(message.kind),
        message.action,
        _micros("noticed_time", message.noticed_time),
        reclaim,
        message.provider,
        message.region,
        message.zone,
        message.instance_type,
        message.instance_id,
        message.spot,
    )


def encode(stored: StoredNotice) -> wire.StoredNotice:
    """Write a stored notice."""
    notice = stored.notice
    return wire.StoredNotice(
        notice=notice_pb2.ProviderNotice(
            node_id=notice.node_id,
            incarnation=notice.incarnation,
            kind=notice.kind.value,
            action=notice.action,
            noticed_time=_timestamp(notice.noticed_micros),
            reclaim_time=None if notice.reclaim_micros is None else _timestamp(notice.reclaim_micros),
            provider=notice.provider,
            region=notice.region,
            zone=notice.zone,
            instance_type=notice.instance_type,
            instance_id=notice.instance_id,
            spot=notice.spot,
        ),
        stored_time=_timestamp(stored.stored_micros),
    )


def _micros(name: str, time: Timestamp) -> int:
    if not 0 <= time.seconds <= _LAST_SECOND:
        raise _refusal(name, f"{time.seconds} s is no time of this kind")
    return time.seconds * 1_000_000 + time.nanos // 1000


def _timestamp(micros: int) -> Timestamp:
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def _refusal(name: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"The notice is refused: {name}: {why}.",
        reason="BAD_NOTICE",
        fix="Correct the field; sending it again as it is changes nothing.",
        metadata={"field": name},
    )
