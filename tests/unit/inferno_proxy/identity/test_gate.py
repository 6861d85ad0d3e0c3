from __future__ import annotations

import json
from pathlib import Path

import pytest

from inferno_proxy.audit import AuditLog
from inferno_proxy.identity.gate import Gate
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Denied, Unauthenticated
from inferno_runtime.identity.caller import ANONYMOUS, LOCAL, Caller, Kind
from inferno_runtime.identity.permission import Action

PROXY = Caller(Kind.PROXY, "p")


async def test_a_refusal_is_noted_and_one_who_asks_again_is_noted_once_a_minute(tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "audit.jsonl"
    gate = Gate(AuditLog(path, clock), clock)
    gate.admit(LOCAL, Action.CONFIGURE, "other")
    assert not path.exists()
    for _ in range(3):
        with pytest.raises(Denied, match="as 'other'"):
            gate.admit(PROXY, Action.CONFIGURE, "other")
    with pytest.raises(Unauthenticated):
        gate.admit(ANONYMOUS, Action.CONFIGURE, "other")
    await clock.advance(60)
    with pytest.raises(Denied):
        gate.admit(PROXY, Action.CONFIGURE, "other")
    noted = [json.loads(line) for line in path.read_text().splitlines()]
    assert [each["caller"] for each in noted] == ["proxy p", "anonymous", "proxy p"]
    assert {each["action"] for each in noted} == {"CONFIGURE"}
    assert noted[0]["refused"].startswith("NOT_YOURS: ")


def test_who_is_turned_away_in_the_handshake_is_noted_once_for_each_reason(tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "audit.jsonl"
    gate = Gate(AuditLog(path, clock), clock)
    for reason in ("CERTIFICATE_EXPIRED", "CERTIFICATE_EXPIRED", "NO_CREDENTIAL"):
        gate.turned_away("10.0.0.9", Unauthenticated("It is not good.", reason=reason))
    noted = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(each["caller"], each["action"], each["subject"], each["refused"]) for each in noted] == [
        ("anonymous", "CONNECT", "10.0.0.9", "CERTIFICATE_EXPIRED: It is not good."),
        ("anonymous", "CONNECT", "10.0.0.9", "NO_CREDENTIAL: It is not good."),
    ]


async def test_a_caller_who_names_ever_other_subjects_fills_no_log(tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "audit.jsonl"
    gate = Gate(AuditLog(path, clock), clock)

    def ask(caller: Caller, count: int) -> None:
        for number in range(count):
            with pytest.raises(Denied):
                gate.admit(caller, Action.CONFIGURE, f"n{number}")

    ask(PROXY, 100)
    ask(Caller(Kind.PROXY, "other"), 1)
    assert len(path.read_text().splitlines()) == 65
    await clock.advance(60)
    ask(PROXY, 100)
    assert len(path.read_text().splitlines()) == 129


def test_a_call_is_refused_also_when_that_cannot_be_noted(tmp_path: Path) -> None:
    clock = ManualClock()
    gate = Gate(AuditLog(tmp_path / "none" / "audit.jsonl", clock), clock)
    with pytest.raises(Denied):
        gate.admit(PROXY, Action.OPERATE)
