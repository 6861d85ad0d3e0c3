"""The mesh on the wire: frozen values to messages of inferno.mesh.v1."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from google.protobuf import duration_pb2, timestamp_pb2

from inferno.mesh.v1 import mesh_service_pb2 as wire
from inferno_proxy.audit import Entry
from inferno_proxy.events import Event
from inferno_proxy.explain.candidates import Candidate
from inferno_proxy.explain.recent import meaning
from inferno_proxy.feedback.observed import Observation, Try
from inferno_proxy.fleet import Member, Phase, Source
from inferno_proxy.orders.order import Kind, Order
from inferno_proxy.publishing.snapshot import ResourceType
from inferno_proxy.services.health import ModelSummary
from inferno_proxy.services.node_wire import loads_to_wire, node_to_wire
from inferno_proxy.xds.clients import Client, SyncState

_PHASE = {
    Phase.SERVING: wire.NODE_PHASE_SERVING,
    Phase.DRAINING: wire.NODE_PHASE_DRAINING,
    Phase.UNMANAGED: wire.NODE_PHASE_UNMANAGED,
    Phase.FAILED: wire.NODE_PHASE_FAILED,
}
_SOURCE = {
    Source.AGENT: wire.NODE_SOURCE_AGENT,
    Source.ANNOUNCED: wire.NODE_SOURCE_ANNOUNCED,
    Source.STATIC: wire.NODE_SOURCE_STATIC,
    Source.FILE: wire.NODE_SOURCE_FILE,
    Source.KUBERNETES: wire.NODE_SOURCE_KUBERNETES,
}
_SYNC = {
    SyncState.UNKNOWN: wire.SYNC_STATE_UNSPECIFIED,
    SyncState.SYNCED: wire.SYNC_STATE_SYNCED,
    SyncState.PENDING: wire.SYNC_STATE_PENDING,
    SyncState.NACKED: wire.SYNC_STATE_NACKED,
}
_KIND = {
    Kind.NODE_WEIGHT: wire.ORDER_KIND_NODE_WEIGHT,
    Kind.NODE_QUARANTINE: wire.ORDER_KIND_NODE_QUARANTINE,
    Kind.SPLIT: wire.ORDER_KIND_SPLIT,
    Kind.LIMIT: wire.ORDER_KIND_LIMIT,
    Kind.MODEL_QUARANTINE: wire.ORDER_KIND_MODEL_QUARANTINE,
    Kind.CAP: wire.ORDER_KIND_CAP,
}
KIND_FROM_WIRE = {number: kind for kind, number in _KIND.items()}
_SHORT = {kind.value: kind.short for kind in ResourceType}


def node_view(member: Member, applied_revision: int, orders: Iterable[wire.Order], now: float) -> wire.NodeView:
    """A node; ``now`` (monotonic seconds) makes its load's age."""
    view = wire.NodeView(
        node=node_to_wire(member.node),
        phase=_PHASE[member.phase],
        reason=member.reason,
        since=_moment(member.since),
        source=_SOURCE[member.source],
        applied_revision=applied_revision,
        orders=orders,
    )
    if member.load is not None:
        view.load.CopyFrom(loads_to_wire(member.load.models))
        view.load_age.CopyFrom(_seconds(now - member.load.at))
    return view


def model_view(one: ModelSummary, orders: Iterable[wire.Order]) -> wire.ModelView:
    """A model over the fleet."""
    return wire.ModelView(
        model=one.name,
        ready_versions=one.ready_versions,
        serving_nodes=one.serving,
        other_nodes=one.others,
        stateful=one.stateful,
        decoupled=one.decoupled,
        orders=orders,
    )


def endpoint_view(one: Candidate) -> wire.EndpointView:
    """One model on one node."""
    node = one.member.node
    return wire.EndpointView(
        model=one.model,
        node_id=node.node_id,
        grpc_address=str(node.grpc_address),
        http_address=str(node.http_address or ""),
        phase=_PHASE[one.member.phase],
        takes_calls=one.takes_calls,
        expected_share=one.share,
        weight=one.weight,
        learned_weight=one.learned,
        factor=one.factor,
        priority=one.priority,
        group=one.group,
        draining=one.draining,
        quarantined=one.quarantined,
        ejected=one.ejected,
        stuck=one.stuck,
        reasons=one.reasons,
        observed=_observation(one.observed) if one.observed else None,
    )


def _observation(seen: Observation) -> wire.Observation:
    return wire.Observation(
        latency=_seconds(seen.seconds) if seen.latency_age is not None else None,
        samples=seen.samples,
        times_slower=seen.times_slower,
        failed=seen.failed,
        in_flight=seen.in_flight,
        latency_age=None if seen.latency_age is None else _seconds(seen.latency_age),
        report_age=None if seen.report_age is None else _seconds(seen.report_age),
    )


def try_view(seen: Try, node_id: str, ended: float) -> wire.TryView:
    """One try of a call; ``ended`` is Unix seconds."""
    return wire.TryView(
        attempt=seen.attempt,
        node_id=node_id,
        address=str(seen.address),
        model=seen.model,
        ended=_moment(ended),
        duration=_seconds(seen.seconds),
        outcome=seen.outcome.value,
        status=seen.status,
        meaning=meaning(seen),
    )


def client_view(client: Client) -> wire.ClientView:
    """A data plane and what it runs."""
    types = [
        wire.ClientTypeView(
            type=_SHORT.get(url, url),
            state=_SYNC[status.state],
            version=status.version,
            reason=status.reason,
            since=_moment(status.since),
        )
        for url, status in client.types.items()
    ]
    return wire.ClientView(
        client_id=client.client_id, dialect=client.dialect.value, connected=_moment(client.connected), types=types
    )


def order_view(order: Order, *, idle: bool) -> wire.Order:
    """An order that holds."""
    return wire.Order(
        kind=_KIND[order.kind],
        subject=order.subject,
        summary=order.what(),
        by=order.by,
        time=_moment(order.at),
        reason=order.reason,
        expires=None if order.expires is None else _moment(order.expires),
        idle=idle,
    )


def event_view(event: Event) -> wire.Event:
    """Something that happened."""
    return wire.Event(
        time=_moment(event.time),
        kind=event.kind,
        subject=event.subject,
        message=event.message,
        cause=event.cause,
        evidence=event.evidence,
        effect=event.effect,
        duration=None if event.seconds is None else _seconds(event.seconds),
    )


def audit_view(entry: Entry) -> wire.AuditEntry:
    """An act."""
    return wire.AuditEntry(
        time=_moment(datetime.fromisoformat(entry.time).timestamp()),
        caller=entry.caller,
        action=entry.action,
        subject=entry.subject,
        detail=entry.detail,
        refused=entry.refused,
    )


def _moment(unix: float) -> timestamp_pb2.Timestamp:
    stamp = timestamp_pb2.Timestamp()
    stamp.FromNanoseconds(int(unix * 1e9))
    return stamp


def _seconds(seconds: float) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
