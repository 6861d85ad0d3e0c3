from __future__ import annotations

from dataclasses import replace

import pytest

from inferno_cli.checks import live
from inferno_cli.checks.finding import Status, run
from inferno_cli.checks.live import LiveFacts
from inferno_cli.mesh_state import DataPlane, MeshState, ModelState, NodeState

NODE = NodeState("node-1", "serving", "127.0.0.1:9001", ("m",), 0, 0, "agent", "", "")
ENVOY = DataPlane("envoy-1", "envoy", {"cds": "synced", "eds": "synced"}, "")
STATE = MeshState("h:1", "serving", (ModelState("m", "serving", 1, 1, ("1",), ""),), (NODE,), (ENVOY,), 0, ())
HEALTHY = LiveFacts("h:1", STATE, measured_nodes=frozenset({"node-1"}))
OK, WARN, FAIL, SKIP = Status.OK, Status.WARN, Status.FAIL, Status.SKIP


def _statuses(facts: LiveFacts) -> list[Status]:
    return [each.status for each in run(live.CHECKS, facts)]


def test_a_healthy_mesh_has_nothing_to_mend() -> None:
    assert _statuses(HEALTHY) == [OK] * 4


def test_without_a_mesh_everything_is_skipped_and_says_why() -> None:
    facts = LiveFacts("h:1", why="refused")
    assert _statuses(facts) == [SKIP] * 4
    assert "refused" in live.serving(facts).evidence


@pytest.mark.parametrize(
    ("changes", "expected", "evidence"),
    [
        ({"status": "not_serving"}, [FAIL, OK, OK, OK], "no model can be served"),
        ({"status": "degraded"}, [WARN, OK, OK, OK], "fewer nodes"),
        ({"nodes": ()}, [OK, FAIL, OK, OK], "No node is registered"),
        ({"nodes": (replace(NODE, phase="failed", reason="hung"),)}, [OK, WARN, OK, OK], "node-1 is failed (hung)"),
        ({"data_planes": ()}, [OK, OK, WARN, OK], "No Envoy"),
        ({"data_planes": (replace(ENVOY, sync={"cds": "nacked"}, reason="cds: bad"),)}, [OK, OK, FAIL, OK], "cds: bad"),
        ({"data_planes": (replace(ENVOY, sync={"cds": "pending"}),)}, [OK, OK, WARN, OK], "not answered yet: envoy-1"),
    ],
)
def test_each_ailment_of_a_mesh_is_found(changes: dict[str, object], expected: list[Status], evidence: str) -> None:
    facts = replace(HEALTHY, state=replace(STATE, **changes))  # type: ignore[arg-type]
    assert _statuses(facts) == expected
    assert any(evidence in each.evidence for each in run(live.CHECKS, facts))


@pytest.mark.parametrize(
    ("facts", "evidence"),
    [
        (replace(HEALTHY, measured_nodes=None, bill_why="away"), "does not answer: away"),
        (replace(HEALTHY, measured_nodes=frozenset({"other"})), "from node-1"),
        (replace(HEALTHY, dropped_samples=3), "3 samples were dropped"),
    ],
)
def test_telemetry_that_does_not_flow_is_found(facts: LiveFacts, evidence: str) -> None:
    found = live.telemetry(facts)
    assert found.status is WARN
    assert evidence in found.evidence
