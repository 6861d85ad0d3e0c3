from __future__ import annotations

import fcntl
import json
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inferno_proxy.audit import AuditLog
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Denied, Unavailable
from inferno_runtime.identity.caller import LOCAL, Caller, Kind
from tests.waiting import eventually_sync


def test_each_action_is_one_line_whoever_names_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path, ManualClock(wall=0.0))
    audit.write(LOCAL, "DRAIN", "n1")
    audit.refused(Caller(Kind.CLIENT, "c"), "DRAIN", "a\nb\ud800", Denied("No.", reason="NOT_ALLOWED"))
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {"time": "1970-01-01T00:00:00+00:00", "caller": "local", "action": "DRAIN", "subject": "n1"}
    assert second["caller"] == "client c"
    assert second["refused"] == "NOT_ALLOWED: No."
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_long_log_goes_on_in_a_new_file_and_one_older_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    # Two processes of one mesh, as when one takes over from the other.
    logs = [AuditLog(path, ManualClock(), largest=500) for _ in range(2)]
    for number in range(20):
        logs[number % 2].write(LOCAL, "DRAIN", str(number))
    older = tmp_path / "audit.jsonl.1"
    kept = [json.loads(line)["subject"] for file in (older, path) for line in file.read_text().splitlines()]
    assert kept == [str(number) for number in range(20 - len(kept), 20)]
    assert len(older.read_text().splitlines()) >= 5
    assert stat.S_IMODE(older.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.jsonl", "audit.jsonl.1"]
    assert [entry.subject for entry in logs[0].newest(limit=3)] == ["19", "18", "17"]


def test_a_log_that_another_process_puts_away_meanwhile_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path, ManualClock())
    audit.write(LOCAL, "DRAIN", "before")
    path.rename(tmp_path / "audit.jsonl.1")
    audit.write(LOCAL, "DRAIN", "after")
    assert [entry.subject for entry in audit.newest()] == ["after", "before"]


def test_the_newest_entries_come_first_and_may_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path, ManualClock())
    assert audit.newest() == []
    ada = Caller(Kind.OPERATOR, "ada")
    audit.write(ada, "SET_SPLIT", "m", "90 to 10")
    audit.refused(LOCAL, "DRAIN", "n" * 999, Denied("No.", reason="NOT_ALLOWED"))
    with path.open("a") as file:
        file.write('{"torn\n[1]\n{"time": "noon", "caller": "", "action": "", "subject": ""}\n')
    assert [entry.action for entry in audit.newest()] == ["DRAIN", "SET_SPLIT"]
    assert [entry.detail for entry in audit.newest(subject="m", caller="operator ada")] == ["90 to 10"]
    (refused,) = audit.newest(refused=True)
    assert (refused.refused, len(refused.subject)) == ("NOT_ALLOWED: No.", 256)


def test_what_cannot_be_noted_or_read_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be noted"):
        AuditLog(tmp_path / "none" / "audit.jsonl", ManualClock()).write(LOCAL, "DRAIN", "n")
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(Unavailable, match="cannot be read"):
        AuditLog(tmp_path / "audit.jsonl", ManualClock()).newest()


def test_a_writer_that_waited_while_the_file_was_put_away_writes_into_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path, ManualClock())
    path.touch()
    with path.open("rb") as held, ThreadPoolExecutor(1) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = pool.submit(audit.write, LOCAL, "DRAIN", "n")
        waits = re.compile(rf"-> FLOCK .*:{path.stat().st_ino} ")
        eventually_sync(lambda: waits.search(Path("/proc/locks").read_text()), 5, "the writer waits")
        path.rename(tmp_path / "audit.jsonl.1")
        fcntl.flock(held, fcntl.LOCK_UN)
        waiting.result(5)
    assert "DRAIN" in path.read_text()
    assert (tmp_path / "audit.jsonl.1").read_text() == ""


def test_what_goes_away_between_two_looks_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path, ManualClock())
    path.touch()
    with path.open("rb") as held, ThreadPoolExecutor(1) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = pool.submit(audit.write, LOCAL, "DRAIN", "n")
        waits = re.compile(rf"-> FLOCK .*:{path.stat().st_ino} ")
        eventually_sync(lambda: waits.search(Path("/proc/locks").read_text()), 5, "the writer waits")
        path.unlink()
        fcntl.flock(held, fcntl.LOCK_UN)
        waiting.result(5)
    assert "DRAIN" in path.read_text()
