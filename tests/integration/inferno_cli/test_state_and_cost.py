from __future__ import annotations

import json
import socket

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.health.v1 import health_service_pb2 as health
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.registration.v1 import node_pb2
from inferno_runtime.errors import InvalidInput, Unavailable, Unsupported
from tests.integration.inferno_cli.conftest import FakeMesh, Run

STAMP = Timestamp(seconds=1_700_000_000)


@pytest.fixture
def busy(fake: FakeMesh) -> FakeMesh:
    """Two nodes, one of them sick; one model that is degraded; an Envoy that refused something."""
    fake.report = health.HealthReport(
        status=health.SERVING_STATUS_DEGRADED,
        models=[
            health.ModelHealth(
                model="filetype",
                status=health.SERVING_STATUS_DEGRADED,
                serving_nodes=1,
                total_nodes=2,
                reason="node-2 hangs.",
            )
        ],
    )
    models = [node_pb2.Model(name="filetype")]
    fake.nodes = [
        mesh.NodeView(
            node=node_pb2.Node(
                node_id="node-1", grpc_address="127.0.0.1:9001", price_micros_per_hour=2_100_000, models=models
            ),
            phase=mesh.NODE_PHASE_SERVING,
            load=node_pb2.Load(models=[node_pb2.ModelLoad(model="filetype", queued=3, executing=1.25)]),
            source=mesh.NODE_SOURCE_AGENT,
            since=STAMP,
            orders=[mesh.Order(subject="node-1", summary="0.1 times the weight", by="local", reason="new")],
        ),
        mesh.NodeView(
            node=node_pb2.Node(node_id="node-2", price_micros_per_hour=600_000),
            phase=mesh.NODE_PHASE_FAILED,
            reason="No progress for 2 s.",
        ),
    ]
    limit = mesh.Order(subject="filetype", summary="at most 4 calls under way", by="operator ada", expires=STAMP)
    fake.models = [mesh.ModelView(model="filetype", ready_versions=["1"], orders=[limit])]
    fake.clients = [
        mesh.ClientView(
            client_id="envoy-1",
            dialect="envoy",
            types=[
                mesh.ClientTypeView(type="cds", state=mesh.SYNC_STATE_SYNCED),
                mesh.ClientTypeView(type="lds", state=mesh.SYNC_STATE_NACKED, reason="bad listener"),
            ],
        )
    ]
    return fake


def test_status_says_on_one_screen_what_serves_and_what_is_wrong(run: Run, busy: FakeMesh) -> None:
    result = run("status")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"{busy.endpoint} is degraded, $2.700 per hour"
    assert lines[1] == "data plane: envoy-1 (cds synced, lds nacked)"
    assert ["filetype", "degraded", "1/2", "1"] in [line.split() for line in lines]
    assert ["node-1", "serving", "127.0.0.1:9001", "3", "1.2", "$2.100", "agent", "filetype"] in [
        line.split() for line in lines
    ]
    assert ["node-2", "failed", "-", "-", "-", "$0.6000", "unspecified", "-"] in [line.split() for line in lines]
    assert [line for line in lines if line.startswith("*")] == [
        "* node-1: 0.1 times the weight, ordered by local (new)",
        "* filetype: at most 4 calls under way until 2023-11-14T22:13:20Z, ordered by operator ada",
    ]
    assert [line for line in lines if line.startswith("!")] == [
        "! Node node-2 is failed: No progress for 2 s.",
        "! Model filetype is degraded: node-2 hangs.",
        "! Data plane envoy-1 refused its configuration and runs the one before: lds: bad listener",
    ]
    assert len(lines) <= 24


def test_status_gives_programs_the_same_as_json(run: Run, busy: FakeMesh) -> None:
    state = json.loads(run("status", "-o", "json").stdout)
    assert (state["endpoint"], state["status"], state["cost_micros_per_hour"]) == (busy.endpoint, "degraded", 2_700_000)
    assert [(node["queued"], node["executing"]) for node in state["nodes"]] == [(3, 1.25), (None, None)]
    assert state["nodes"][0]["since"] == "2023-11-14T22:13:20Z"
    assert len(state["problems"]) == 3


def test_an_empty_mesh_says_how_to_fill_it(run: Run, fake: FakeMesh) -> None:
    fake.report = health.HealthReport(status=health.SERVING_STATUS_NOT_SERVING)
    result = run("status")
    assert result.stdout.splitlines() == [
        f"{fake.endpoint} is not serving, $0 per hour",
        "",
        "! No node is registered. Start one: inferno backend --discovery-lb HOST:PORT.",
    ]


@pytest.mark.parametrize("verb", ["status", "cost"])
def test_a_mesh_that_is_away_is_told_with_exit_code_four(run: Run, verb: str) -> None:
    result = run(verb, "--endpoint", "127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("error[UNAVAILABLE] The mesh at 127.0.0.1:1 cannot be reached")


@pytest.mark.parametrize("verb", ["status", "cost", "check"])
def test_an_endpoint_that_is_no_address_is_wrong_usage(run: Run, verb: str) -> None:
    result = run(verb, "--endpoint", "nonsense")
    assert result.exit_code == 2
    assert "endpoint 'nonsense' is not host:port" in result.stderr


def test_a_mesh_that_never_answers_is_given_up(run: Run) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        result = run("status", "--endpoint", f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.2")
    assert result.exit_code in (4, 124)
    assert result.stderr.startswith("error[")


@pytest.fixture
def billed(fake: FakeMesh) -> FakeMesh:
    fake.bill = governance.GetCostReportResponse(
        start=STAMP,
        end=Timestamp(seconds=STAMP.seconds + 3600),
        total_cost_micros=2_100_000,
        lines=[
            governance.CostLine(
                node_id="node-1", model="filetype", requests=40, errors=1, inferences=40, mean_latency_micros=8_123,
                mean_queue_micros=120, utilization=0.0312, cost_micros=65_520, measured_seconds=3600,
            ),
            governance.CostLine(
                node_id="node-1", cost_micros=2_034_480, measured_seconds=3600, utilization=0.1, energy_joules=360_000
            ),
        ],
    )  # fmt: skip
    return fake


def test_cost_is_a_line_for_each_model_and_the_idle_rest_with_their_total(run: Run, billed: FakeMesh) -> None:
    result = run("cost", "--since", "1h")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["node-1", "filetype", "40", "1", "8.12", "0.12", "3.1%", "3600", "-", "$0.06552"] in rows
    assert ["node-1", "(idle)", "0", "0", "-", "-", "devices", "10.0%", "3600", "0.100", "$2.034"] in rows
    assert rows[-1][:2] == ["total", "$2.100"]
    request = billed.seen[-1]
    assert request.end.seconds - request.start.seconds == 3600


def test_cost_in_json_is_whole_micro_dollars(run: Run, billed: FakeMesh) -> None:
    bill = json.loads(run("cost", "--start", "2026-11-23T00:00Z", "--end", "2026-11-23T01:00Z", "-o", "json").stdout)
    assert bill["total_cost_micros"] == sum(line["cost_micros"] for line in bill["lines"]) == 2_100_000
    assert [line["model"] for line in bill["lines"]] == ["filetype", None]
    assert billed.seen[-1].start.ToJsonString() == "2026-11-23T00:00:00Z"


def test_a_period_without_measurements_says_so(run: Run, fake: FakeMesh) -> None:
    fake.bill.dropped_samples = 0
    assert run("cost").stdout.startswith("Nothing was measured from")


def test_dropped_samples_are_told(run: Run, billed: FakeMesh) -> None:
    billed.bill.dropped_samples = 7
    assert "! 7 samples were dropped" in run("cost").stdout


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("The governator is away.", reason="NO_GOVERNATOR"), 4),
        (InvalidInput("The period is reversed.", reason="BAD_PERIOD"), 2),
    ],
)
def test_what_the_governator_refuses_is_told(
    run: Run, fake: FakeMesh, error: InvalidInput | Unavailable, code: int
) -> None:
    fake.bill_error = error
    result = run("cost")
    assert (result.exit_code, result.stderr) == (code, f"error[{error.reason}] {error.message}\n")


def test_a_proxy_without_a_governator_is_told_apart_from_one_that_is_away(run: Run, fake: FakeMesh) -> None:
    fake.bill_error = Unsupported("nothing is served at /inferno.governance.v1", reason="UNIMPLEMENTED")
    result = run("cost")
    assert result.exit_code == 1
    assert "keeps no bill: its proxy knows no governator." in result.stderr
    assert "--governator HOST:PORT" in result.stderr


def test_a_wrong_period_is_wrong_usage(run: Run) -> None:
    result = run("cost", "--since", "soon")
    assert result.exit_code == 2
    assert "'soon' is not a duration" in result.stderr
