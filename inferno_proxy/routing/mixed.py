"""Models of which some nodes take TLS and others do not: gRPC clients, with one socket for all, get a part of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import FleetView
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

# Seconds between two looks: each goes through the whole fleet.
_REST = 1.0


def mixed(fleet: FleetView) -> Mapping[str, str]:
    """Such models, each with a sentence."""
    nodes: dict[str, Counter[bool]] = {}
    for member in fleet.members.values():
        for model in member.node.models if member.takes_work else ():
            if model.ready:
                nodes.setdefault(model.name, Counter())[member.node.tls] += 1
    found = {}
    for name, of in nodes.items():
        if len(of) > 1:
            tls = of[True] >= of[False]
            kind = "take TLS" if tls else "take no TLS"
            found[name] = f"gRPC clients of {name!r} are given {of[tls]} of its {of.total()} nodes: those that {kind}."
    return found


async def report_mixed(view: Latest[FleetView], events: EventLog, clock: Clock) -> None:
    """Say when a model becomes one of those, and when it is none any more. Runs until cancelled."""
    before: Mapping[str, str] = {}
    async for fleet in view.watch():
        now = mixed(fleet)
        for model in sorted(now.keys() - before.keys()):
            events.add("NODES_MIXED", model, now[model])
        for model in sorted(before.keys() - now.keys()):
            events.add("NODES_ALIKE", model, f"gRPC clients of {model!r} are given all of its nodes again.")
        before = now
        await clock.sleep(_REST)
