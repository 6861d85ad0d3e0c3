"""The checks of a running mesh. Pure functions of :class:`LiveFacts`."""

from __future__ import annotations

from dataclasses import dataclass

from inferno_cli.checks.finding import Check, Finding, fail, ok, skip, warn
from inferno_cli.mesh_state import MeshState


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """A mesh as its public port shows it.

    ``state`` is None when nobody answers, ``why`` says so. ``measured_nodes`` are the nodes with telemetry in the last
    minutes, None when the governator does not answer, ``bill_why`` says so.
    """

    endpoint: str
    state: MeshState | None = None
    why: str = ""
    measured_nodes: frozenset[str] | None = None
    dropped_samples: int = 0
    bill_why: str = ""


def serving(facts: LiveFacts) -> Finding:
    """Requests are answered."""
    if facts.state is None:
        return skip(f"No mesh answers at {facts.endpoint}: {facts.why}")
    if facts.state.status == "not_serving":
        return fail(f"{facts.endpoint} answers, and no model can be served.", "inferno status shows why")
    if facts.state.status == "degraded":
        return warn(f"{facts.endpoint} serves with fewer nodes than are registered.", "inferno status shows which")
    return ok(f"{facts.endpoint} serves {', '.join(one.name for one in facts.state.models)}")


def nodes(facts: LiveFacts) -> Finding:
    """Every node takes work."""
    if facts.state is None:
        return skip("no mesh")
    if not facts.state.nodes:
        return fail("No node is registered.", f"inferno backend --discovery-lb {facts.endpoint} --model-repository DIR")
    sick = [f"{one.id} is {one.phase} ({one.reason})" for one in facts.state.nodes if one.phase != "serving"]
    if sick:
        return warn("; ".join(sick), "inferno status; the node's log has the cause")
    return ok(f"{len(facts.state.nodes)} nodes serve")


def synced(facts: LiveFacts) -> Finding:
    """Every data plane runs the newest configuration."""
    if facts.state is None:
        return skip("no mesh")
    planes = facts.state.data_planes
    refused = [f"{one.id}: {one.reason}" for one in planes if "nacked" in one.sync.values()]
    if refused:
        return fail(
            f"A data plane refused its configuration and runs the one before: {'; '.join(refused)}.",
            "Report it: a configuration that Envoy refuses is a defect of Inferno.",
        )
    if not any(one.dialect == "envoy" for one in planes):
        return warn(
            "No Envoy takes configuration from the control plane: changes reach nobody.", "See the proxy's log."
        )
    waiting = [one.id for one in planes if "pending" in one.sync.values()]
    if waiting:
        return warn(
            f"Sent and not answered yet: {', '.join(waiting)}.", "Check again; if it stays, see the proxy's log."
        )
    return ok(f"{len(planes)} data planes in sync")


def telemetry(facts: LiveFacts) -> Finding:
    """The governator measures every node."""
    if facts.state is None:
        return skip("no mesh")
    if facts.measured_nodes is None:
        return warn(f"The governator does not answer: {facts.bill_why}", "Is it running? inferno governator --help")
    missing = sorted({one.id for one in facts.state.nodes if one.source == "agent"} - facts.measured_nodes)
    if missing:
        return warn(
            f"No telemetry in the last minutes from {', '.join(missing)}.",
            "A new node is measured within seconds: check again; if it stays, see the log of that node's agent.",
        )
    if facts.dropped_samples:
        return warn(
            f"{facts.dropped_samples} samples were dropped by nodes.",
            "The governator was away for long or is too slow: see its log.",
        )
    return ok(f"telemetry from {len(facts.measured_nodes)} nodes")


CHECKS: tuple[Check[LiveFacts], ...] = (
    Check("INF-301", "mesh", "the mesh serves", serving),
    Check("INF-302", "mesh", "nodes take work", nodes),
    Check("INF-303", "mesh", "data planes in sync", synced),
    Check("INF-304", "mesh", "telemetry flows", telemetry),
)
