"""Items of a bill between the wire and values; both ends use it."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import report_pb2 as wire
from inferno.governance.v1 import telemetry_pb2
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.usage import Facts

_PURPOSES = {purpose: wire.CostPurpose.Value(f"COST_PURPOSE_{purpose.name}") for purpose in Purpose}
_NOT_SAID = Facts(0)
_FROM_WIRE: dict[int, Purpose] = {number: purpose for purpose, number in _PURPOSES.items()}


def encode(items: Iterable[Item]) -> wire.ListCostItemsResponse:
    """Items as they are sent."""
    return wire.ListCostItemsResponse(items=map(_encode, items))


def decode(sent: wire.ListCostItemsResponse) -> list[Item]:
    """Items as they were before they were sent."""
    return [_decode(each) for each in sent.items]


def _encode(item: Item) -> wire.CostItem:
    facts = item.facts
    return wire.CostItem(
        start=Timestamp(seconds=item.start_minute * 60),
        minutes=item.minutes,
        node_id=item.node,
        facts=telemetry_pb2.NodeFacts(
            price_micros_per_hour=facts.price,
            region=facts.region,
            device=facts.device,
            gpu_count=facts.gpu_count,
            instance_type=facts.instance_type,
            spot=facts.spot,
            provider=facts.provider,
        ),
        purpose=_PURPOSES[item.purpose],
        model=item.model,
        version=item.version,
        team=item.team,
        key=item.key,
        paid_time_micros=item.paid_micros,
        cost_micros=item.cost_micros,
        requests=item.requests,
        errors=item.errors,
        inferences=item.inferences,
        input_tokens=item.input_tokens,
        output_tokens=item.output_tokens,
        request_time_micros=item.request_micros,
        queue_time_micros=item.queue_micros,
        compute_time_micros=item.compute_micros,
        commitment=facts.commitment,
        commitment_kind=facts.origin if facts.commitment else "",
        committed_micros=item.committed_micros,
    )


def _decode(sent: wire.CostItem) -> Item:
    facts = sent.facts
    return Item(
        start_minute=sent.start.seconds // 60,
        minutes=sent.minutes,
        node=sent.node_id,
        facts=Facts(
            price=facts.price_micros_per_hour,
            region=facts.region,
            device=facts.device,
            gpu_count=facts.gpu_count,
            instance_type=facts.instance_type,
            spot=facts.spot,
            provider=facts.provider,
            commitment=sent.commitment,
            origin=sent.commitment_kind or _NOT_SAID.origin,
        ),
        purpose=_FROM_WIRE[sent.purpose],
        model=sent.model,
        version=sent.version,
        team=sent.team,
        key=sent.key,
        paid_micros=sent.paid_time_micros,
        cost_micros=sent.cost_micros,
        requests=sent.requests,
        errors=sent.errors,
        inferences=sent.inferences,
        input_tokens=sent.input_tokens,
        output_tokens=sent.output_tokens,
        request_micros=sent.request_time_micros,
        queue_micros=sent.queue_time_micros,
        compute_micros=sent.compute_time_micros,
        committed_micros=sent.committed_micros,
    )
