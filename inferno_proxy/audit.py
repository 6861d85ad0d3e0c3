"""Who did what to the mesh: one line of JSON for each control action, also for those that were refused.

The file only grows and is for its owner alone. It never holds a token, a key or a certificate: callers of
:meth:`AuditLog.write` give names and ids.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from inferno_proxy.identity.caller import Caller
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError

_LOG = logs.get("audit")


class AuditLog:
    """Appends to ``path``; each line is on disk's queue when :meth:`write` returns, written in one piece."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def write(self, caller: Caller, action: str, subject: str, detail: str = "", refused: str = "") -> None:
        """Note one action: ``action`` is UPPER_SNAKE_CASE, ``refused`` the reason it was not done, empty when it was.

        Raises:
            OSError: The file cannot be written: what cannot be noted must not be done.
        """
        entry = {
            "time": datetime.fromtimestamp(self._clock.wall(), UTC).isoformat(),
            "caller": str(caller),
            "action": action,
            "subject": subject,
            **({"detail": detail} if detail else {}),
            **({"refused": refused} if refused else {}),
        }
        line = (json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
        _LOG.info("control action", **entry)

    def refused(self, caller: Caller, action: str, subject: str, error: InfernoError) -> None:
        """Note an action that was refused."""
        self.write(caller, action, subject, refused=f"{error.reason}: {error.message}")
