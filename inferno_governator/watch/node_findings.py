"""What is said of nodes: providers that take them back, silence, and telemetry that is lost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from inferno_governator.alerts.alert import Finding, Kind, Severity
from inferno_governator.notices import Kind as NoticeKind
from inferno_governator.notices import StoredNotice

_MINUTE = 60_000_000
# A node sends at least every few seconds: after so long it is cut off, or gone.
_SILENT = 5 * _MINUTE
# After so long nobody expects it back.
_GONE = 60 * _MINUTE


class NodeNews(NamedTuple):
    """When telemetry of a node was stored last (Unix microseconds), and what it says it dropped in the last minutes."""

    node: str
    stored_micros: int
    dropped_samples: int


class SickDevice(NamedTuple):
    """A device of a node, and why it can do no work, as the node says."""

    node: str
    device: str
    fault: str


def findings(
    notices: Iterable[StoredNotice], news: Iterable[NodeNews], sick: Iterable[SickDevice], now_micros: int
) -> list[Finding]:
    """What nodes are about to lose, or have lost."""
    found = [_notice(each) for each in notices]
    found += [_sick(each) for each in sick]
    for node, stored, dropped in news:
        if _SILENT <= now_micros - stored < _GONE:
            found.append(
                Finding(
                    Kind.NODE,
                    f"{node} silent",
                    Severity.INFO,
                    f"Node {node} has sent no telemetry since {_time(stored)}: it ended, or is cut off.",
                    f"inferno explain {node} --as node",
                    {"last stored": _time(stored)},
                )
            )
        if dropped:
            found.append(
                Finding(
                    Kind.NODE,
                    f"{node} dropped",
                    Severity.WARNING,
                    f"Node {node} dropped {dropped} samples of late: its bill is incomplete.",
                    f"inferno explain {node} --as node",
                    {"dropped samples": str(dropped)},
                )
            )
    return found


def _sick(device: SickDevice) -> Finding:
    return Finding(
        Kind.NODE,
        f"{device.node} {device.device}",
        Severity.WARNING,
        f"Node {device.node}: {device.fault}",
        f"inferno explain {device.node} --as node",
        {"device": device.device},
    )


def _notice(stored: StoredNotice) -> Finding:
    notice = stored.notice
    when = f" at {_time(notice.reclaim_micros)}" if notice.reclaim_micros is not None else ""
    says = {
        NoticeKind.RECLAIM: f"its provider takes the machine back{when}",
        NoticeKind.REBALANCE: "its provider advises to leave before the machine may be taken back",
        NoticeKind.MAINTENANCE: f"there is work on its machine's host{when}",
    }[notice.kind]
    return Finding(
        Kind.NODE,
        f"{notice.node_id} {notice.kind.name.lower()}",
        Severity.WARNING if notice.kind is NoticeKind.RECLAIM else Severity.INFO,
        f"Node {notice.node_id}: {says} ({notice.action}).",
        "inferno status",
        {"provider": notice.provider or "unknown", "instance": notice.instance_id or "unknown"},
    )


def _time(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%H:%M:%S UTC")
