"""``inferno simulate`` on files without a mesh, and on what a real governator has recorded."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.governance.v1.capacity_pb2 import CapacityReport, CapacityStep
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno_cli.main import command
from tests.integration.inferno_cli.governing import governing
from tests.integration.inferno_governator.governators import Governator
from tests.integration.inferno_governator.nodes import FACTS, batch

SCENARIO = """\
trace: rates.csv
objective: {latency: 3s}
patience: 30s
alternatives:
  - name: two
    pools: [{price: 3.60, measured: {1: 2, 8: 8}, nodes: 2}]
  - name: follows
    pools: [{price: 3.60, measured: {1: 2, 8: 8}, nodes: 2, minimum: 1, maximum: 4, boot: 2m}]
    policy: hpa
    target: 0.6
  - name: spot
    pools:
      - {name: a, price: 1.2, measured: {1: 2, 8: 8}, spot: true, zone: a}
      - {name: b, price: 1.2, measured: {1: 2, 8: 8}, spot: true, zone: b, network: 30ms}
    spot_losses: {per_day: 48, mean: 5m}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    (tmp_path / "rates.csv").write_text("t_s,rate_rps\n" + "".join(f"{at * 600},{2 + at % 3}\n" for at in range(12)))
    return tmp_path


def simulate(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["simulate", *map(str, arguments)])


def test_alternatives_stand_side_by_side_and_the_same_seed_gives_the_same_bytes(folder: Path) -> None:
    first = simulate(folder / "scenario.yaml", "-o", "json", "--html", folder / "one.html")
    again = simulate(folder / "scenario.yaml", "-o", "json", "--html", folder / "two.html")
    assert first.exit_code == 0, first.output
    assert first.stdout == again.stdout
    assert (folder / "one.html").read_bytes() == (folder / "two.html").read_bytes()
    assert "Nodes of follows" in (folder / "one.html").read_text()
    found = json.loads(first.stdout)
    two, follows, spot = found["alternatives"]
    assert two["cost_micros"] == 2 * 2 * 3_600_000
    assert two["within"] == 1.0
    assert follows["cost_micros"] < two["cost_micros"]
    assert spot["losses"] > 0
    assert simulate(folder / "scenario.yaml", "-o", "json", "--seed", 9).stdout != first.stdout


def test_the_table_is_for_people_and_flags_do_without_a_scenario(folder: Path) -> None:
    flags = ["--trace", folder / "rates.csv", "--latency", "500ms", "--share", "0.9"]
    (folder / "grid.json").write_text(json.dumps({"1,1": [100, 16, 50, 10], "128,128": [10, 16, 90, 12]}))
    small = f"name=small,price=1.86,profile={folder}/grid.json,nodes=2,policy=consolidation"
    told = simulate(*flags, "--alternative", small, "--alternative", f"price=2,profile={folder}/grid.json")
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines()[0].split()[:3] == ["ALTERNATIVE", "COST", "A"]
    assert told.stdout.splitlines()[1].startswith("small")


@pytest.mark.parametrize(
    ("mended", "said"),
    [
        ("price: 3.60, measured: {1: 2, 8: 8}, nodes: 2}]\n  - name: f", "scenario.yaml:6: alternatives.0.pools.0"),
        ("policy: hpa", "which is none"),
        ("boot: 2m", "scenario.yaml:8: alternatives.1.pools.0.boot"),
        ("trace: rates.csv", "no-such.csv cannot be read"),
        ("objective:", "scenario.yaml:2: objectives: Extra inputs are not permitted"),
        ("measured: {1: 2, 8: 8}, nodes: 2, min", "profile"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence_with_its_line(folder: Path, mended: str, said: str) -> None:
    wrong = {
        "price": mended.replace("3.60", "-1"),
        "policy": "policy: best",
        "boot": "boot: soon",
        "trace": "trace: no-such.csv",
        "objective": "objectives:",
        "measured": "nodes: 2, min",
    }[mended.split(":", maxsplit=1)[0]]
    (folder / "scenario.yaml").write_text(SCENARIO.replace(mended, wrong))
    told = simulate(folder / "scenario.yaml")
    assert told.exit_code in {1, 2}
    assert said in told.stderr
    assert not told.stdout


def test_a_trace_with_a_gap_stops_everything_with_its_line(folder: Path) -> None:
    (folder / "rates.csv").write_text("t_s,rate_rps\n0,1\n60,1\n180,1\n")
    told = simulate(folder / "scenario.yaml")
    assert told.exit_code == 2
    assert "rates.csv:4: 120 s lie between this line and the one above" in told.stderr


def test_what_only_a_mesh_knows_is_asked_for_of_a_trace_in_a_file(folder: Path) -> None:
    (folder / "scenario.yaml").write_text("trace: rates.csv\nalternatives: [{name: a, pools: [{node: n, price: 1}]}]\n")
    told = simulate(folder / "scenario.yaml")
    assert told.exit_code == 2
    assert "has only the name of a node" in told.stderr


RECORDED = """\
recorded: {model: m, since: 1h}
objective: {latency: 3s}
alternatives:
  - {name: like, pools: [{node: node-1, nodes: 2}]}
  - {name: grid, policy: hpa, pools: [{price: 2, profile: grid.json, maximum: 3}]}
  - {name: rented, pools: [{offer: aws/us-east-1/p5.48xlarge, measured: {1: 2, 4: 6}}]}
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A governator process in which an hour of demand and a benchmark were recorded; its address."""

    async def known(running: Governator) -> None:
        now = time.time() // 60 * 60
        sent = [batch(n + 1, at=now - 600 + 60 * n, requests=60, facts=None if n else FACTS) for n in range(10)]
        await running.client.store(sent)
        made = CapacityReport(
            node_id="node-1", measured_at=Timestamp(seconds=int(now)), hardware="h", model="m", configuration="c",
            complete=True, steps=[CapacityStep(batch=1, concurrency=4, requests=9, requests_per_second=6)],
        )  # fmt: skip
        stub: Any = GovernanceServiceStub(running.client.channel)
        await stub.ReportCapacity(governance.ReportCapacityRequest(reports=[made]), timeout=60)

    with governing(f"sqlite:///{tmp_path_factory.mktemp('simulate') / 'g.db'}", prepare=known) as address:
        yield address


def test_demand_of_the_mesh_is_replayed_there_on_its_nodes_grids_and_offers(folder: Path, endpoint: str) -> None:
    (folder / "scenario.yaml").write_text(RECORDED)
    (folder / "grid.json").write_text(json.dumps({"1,1": [100, 16, 50, 10], "128,128": None}))
    ask = [folder / "scenario.yaml", "--endpoint", endpoint, "--timeout", "60"]
    told = simulate(*ask, "-o", "json", "--html", folder / "page.html")
    assert told.exit_code == 0, told.output
    like, grid, rented = json.loads(told.stdout)["alternatives"]
    assert like["requests"] == grid["served"] == rented["requests"] > 500
    # An hour of whole minutes, at 3.60 dollars an hour each of two, and at the catalogue's price.
    assert like["cost_micros"] == pytest.approx(7_200_000, rel=0.02)
    assert rented["cost_micros"] == pytest.approx(55_040_000, rel=0.02)
    assert "Nodes of grid" in (folder / "page.html").read_text()
    assert simulate(*ask).stdout.splitlines()[1].startswith("like")


def test_a_scenario_and_flags_at_once_are_refused(folder: Path) -> None:
    assert simulate().exit_code == 2
    assert simulate(folder / "scenario.yaml", "--trace", folder / "rates.csv").exit_code == 2
