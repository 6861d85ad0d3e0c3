"""Notices of providers, decoded: what is impossible is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1.notice_pb2 import NOTICE_KIND_RECLAIM, ProviderNotice
from inferno_governator.notices import Kind, Notice, StoredNotice, decode, encode
from inferno_runtime.errors import InvalidInput

MESSAGE = ProviderNotice(
    node_id="n1",
    incarnation=7,
    kind=NOTICE_KIND_RECLAIM,
    action="terminate",
    noticed_time=Timestamp(seconds=10, nanos=250_000_000),
    reclaim_time=Timestamp(seconds=130),
    provider="aws",
    region="r",
    zone="z",
    instance_type="g6.xlarge",
    instance_id="i-1",
    spot=True,
)


def test_a_notice_comes_back_from_the_store_as_it_was_told() -> None:
    notice = decode(MESSAGE)
    assert (notice.kind, notice.noticed_micros, notice.reclaim_micros) == (Kind.RECLAIM, 10_250_000, 130_000_000)
    stored = encode(StoredNotice(notice, 11_500_000))
    assert stored.notice == MESSAGE
    assert stored.stored_time.ToMilliseconds() == 11_500


def test_an_end_that_nobody_dates_has_no_time() -> None:
    message = ProviderNotice()
    message.CopyFrom(MESSAGE)
    message.ClearField("reclaim_time")
    notice = decode(message)
    assert notice.reclaim_micros is None
    assert not encode(StoredNotice(notice, 0)).notice.HasField("reclaim_time")
    assert isinstance(notice, Notice)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node_id", "a b"),
        ("incarnation", 0),
        ("incarnation", 2**63),
        ("kind", 0),
        ("kind", 99),
        ("action", "x" * 257),
        ("instance_id", "i\n1"),
        ("noticed_time", Timestamp(seconds=-1)),
        ("reclaim_time", Timestamp(seconds=2**40)),
    ],
)
def test_what_is_impossible_is_refused_by_name(field: str, value: Any) -> None:
    message = ProviderNotice()
    message.CopyFrom(MESSAGE)
    message.MergeFrom(ProviderNotice(**{field: value})) if value else message.ClearField(field)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=f"refused: {field}: ") as refused:
        decode(message)
    assert refused.value.metadata["field"] == field
