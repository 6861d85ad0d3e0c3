from __future__ import annotations

from pathlib import Path

import pytest

from inferno_cli.cloud import summary
from inferno_cli.cloud.child import Child
from inferno_cli.cloud.components import Wanted, components
from inferno_cli.cloud.folder import DataFolder


def _children(wanted: Wanted, models: list[str]) -> list[Child]:
    children = [Child(each, Path("log"), {}, ()) for each in components(wanted)]
    facts: dict[str, dict[str, object]] = {
        "proxy": {"pid": 2, "endpoint": wanted.endpoint},
        "governator": {"pid": 1, "address": "unix:/data/g.sock"},
        "node-1": {
            "pid": 3,
            "triton_pid": 4,
            "page": "http://127.0.0.1:7",
            "grpc": "127.0.0.1:9",
            "http": "127.0.0.1:8",
            "models": models,
        },
    }
    for child in children:
        child.facts.set(facts[child.component.name])
    return children


def _wanted(port: int = 8080) -> Wanted:
    return Wanted(DataFolder(Path("/data")), Path("/m"), port=port, nodes=1)


def test_programs_get_every_address_and_pid() -> None:
    wanted = _wanted()
    assert summary.document(wanted, _children(wanted, ["filetype"])) == {
        "endpoint": "127.0.0.1:8080",
        "proxy": {"address": "127.0.0.1:8080", "pid": 2, "endpoint": "127.0.0.1:8080"},
        "governator": {"pid": 1, "address": "unix:/data/g.sock"},
        "nodes": [
            {
                "id": "node-1",
                "address": "127.0.0.1:9",
                "http_address": "127.0.0.1:8",
                "pid": 3,
                "triton_pid": 4,
                "page": "http://127.0.0.1:7",
                "models": ["filetype"],
            }
        ],
        "data_dir": "/data",
    }


@pytest.mark.parametrize(
    ("models", "port", "lines"),
    [
        (["filetype"], 8080, ["  inferno infer filetype README.md", "  inferno status"]),
        (
            ["other"],
            9000,
            ["  inferno infer other FILE --endpoint 127.0.0.1:9000"],
        ),
        ([], 8080, ["  inferno infer MODEL FILE"]),
    ],
)
def test_people_get_what_to_type_next(models: list[str], port: int, lines: list[str]) -> None:
    wanted = _wanted(port)
    text = summary.text(summary.document(wanted, _children(wanted, models)), colours=False)
    assert set(lines) <= set(text.splitlines())
    assert any(line.startswith("node-1      127.0.0.1:9") for line in text.splitlines())


def test_people_get_the_pid_of_each_agent_and_each_triton() -> None:
    wanted = _wanted()
    text = summary.text(summary.document(wanted, _children(wanted, ["filetype"])), colours=False)
    rows = {
        line.split()[0]: line.split()[2:] for line in text.splitlines() if line.startswith(("COMP", "proxy", "node"))
    }
    assert rows == {
        "COMPONENT": ["PID", "TRITON", "MODELS"],
        "proxy": ["2", "-", "-"],
        "node-1": ["3", "4", "filetype"],
    }
