from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from inferno_runtime import logs


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def test_json_lines_carry_component_level_time_and_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    logs.get("proxy").info("node joined", node="n1")
    written = capsys.readouterr()
    line = json.loads(written.err)
    assert written.out == ""
    assert (line["event"], line["component"], line["level"], line["node"]) == ("node joined", "proxy", "info", "n1")
    assert line["timestamp"].endswith("Z")


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "warning")
    logs.get("proxy").info("quiet")
    logs.get("proxy").warning("loud")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["loud"]


@pytest.mark.parametrize(
    "key", ["token", "db_password", "Authorization", "API_KEY", "client_secret", "private_key_pem"]
)
def test_secrets_never_reach_a_log(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    logs.get("x").info("event", **{key: "hunter2"})
    written = capsys.readouterr().err
    assert "hunter2" not in written
    assert "[redacted]" in written


def test_the_console_form_is_for_people_and_prints_traces_without_variables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("console")
    secret_value = "hunter2"
    try:
        raise ValueError("broken " + secret_value[:0])
    except ValueError:
        logs.get("x").exception("it failed")
    written = capsys.readouterr().err
    assert "it failed" in written
    assert "ValueError: broken" in written
    assert "hunter2" not in written.replace('secret_value = "hunter2"', "")
