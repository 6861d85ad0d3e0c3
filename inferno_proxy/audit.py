"""Who did what to the mesh: one line of JSON for each control action, also for those that were refused.

The file is for its owner alone. It only grows, up to a size; then it becomes the older one, of which there is one. It
never holds a token, a key or a certificate: callers of :meth:`AuditLog.write` give names and ids.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, Unavailable
from inferno_runtime.identity.caller import Caller

_LOG = logs.get("audit")
_LARGEST = 16 * 1024 * 1024
# Bounds of what callers send, in characters.
_SUBJECT, _DETAIL = 256, 2048


@dataclass(frozen=True, slots=True)
class Entry:
    """One action. ``time`` is ISO 8601; ``refused`` says why it was not done, empty when it was."""

    time: str
    caller: str
    action: str
    subject: str
    detail: str = ""
    refused: str = ""


class AuditLog:
    """Appends to ``path``; each line is on disk's queue when :meth:`write` returns, written in one piece.

    From ``largest`` bytes on the file goes on under the name ``path`` with ``.1``, in the place of the one before.
    """

    def __init__(self, path: Path, clock: Clock, largest: int = _LARGEST) -> None:
        self._path = path
        self._older = path.with_name(f"{path.name}.1")
        self._clock = clock
        self._largest = largest

    def write(self, caller: Caller, action: str, subject: str, detail: str = "", refused: str = "") -> None:
        """Note one action: ``action`` is UPPER_SNAKE_CASE, ``refused`` the reason it was not done, empty when it was.

        Raises:
            Unavailable: The file cannot be written: what cannot be noted must not be done.
        """
        entry = {
            "time": datetime.fromtimestamp(self._clock.wall(), UTC).isoformat(),
            "caller": str(caller),
            "action": action,
            "subject": subject[:_SUBJECT],
            **({"detail": detail[:_DETAIL]} if detail else {}),
            **({"refused": refused[:_DETAIL]} if refused else {}),
        }
        line = (json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        try:
            with self._current() as handle:
                os.write(handle, line)
        except OSError as error:
            raise Unavailable(
                f"The act cannot be noted in {self._path}: {error.strerror}.",
                reason="AUDIT_UNWRITABLE",
                fix="See to the disk of the data folder; nothing has changed.",
            ) from error
        _LOG.info("control action", **entry)

    def refused(self, caller: Caller, action: str, subject: str, error: InfernoError) -> None:
        """Note an action that was refused.

        Raises:
            Unavailable: The file cannot be written.
        """
        self.write(caller, action, subject, refused=f"{error.reason}: {error.message}")

    def newest(self, subject: str = "", caller: str = "", limit: int = 100, *, refused: bool = False) -> list[Entry]:
        """The last entries, newest first: those about a subject, of a caller, or that were refused, if asked for.

        Raises:
            Unavailable: The file cannot be read.
        """
        matching = (
            entry
            for entry in self._backwards()
            if subject in ("", entry.subject) and caller in ("", entry.caller) and (entry.refused or not refused)
        )
        return list(islice(matching, limit))

    @contextmanager
    def _current(self) -> Iterator[int]:
        """The file to append to, for as long as no other process of this mesh may put it away."""
        while True:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                size = os.fstat(handle).st_size
                if not self._is_current(handle):
                    continue
                if size >= self._largest:
                    self._path.replace(self._older)
                    continue
                yield handle
                return
            finally:
                os.close(handle)

    def _is_current(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False

    def _backwards(self) -> Iterator[Entry]:
        for path in (self._path, self._older):
            try:
                lines = path.read_bytes().splitlines()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Unavailable(
                    f"The audit log {path} cannot be read: {error.strerror}.", reason="AUDIT_UNREADABLE"
                ) from error
            for line in reversed(lines):
                entry = _entry(line)
                if entry is not None:
                    yield entry


def _entry(line: bytes) -> Entry | None:
    """A line, or None when it is torn: a disk that is full, or a machine that stops, leaves such ones."""
    try:
        entry = Entry(**{str(name): str(value) for name, value in json.loads(line).items()})
        datetime.fromisoformat(entry.time)
    except (ValueError, TypeError, AttributeError):
        return None
    return entry
