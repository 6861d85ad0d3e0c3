from __future__ import annotations

import json
import stat
from pathlib import Path

from inferno_proxy.audit import AuditLog
from inferno_proxy.identity.caller import LOCAL, Caller, Kind
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Denied


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
