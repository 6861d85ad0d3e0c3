"""What a component said before it ended, found in its log and told in its own words."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from inferno_runtime.errors import Broken, Denied, InfernoError, InvalidInput, TimedOut, Unavailable

_ERROR = re.compile(r"^error\[(?P<reason>[A-Z0-9_]+)\] (?P<message>.*)$")
_FIX = "  fix: "
_TAIL_LINES = 10
_BY_EXIT_CODE: dict[int, type[InfernoError]] = {
    cls.exit_code: cls for cls in (InvalidInput, Unavailable, Denied, TimedOut)
}


def failure(name: str, status: int, log: Path) -> InfernoError:
    """Why a component did not start: its own error when it printed one, otherwise the end of its log.

    Args:
        name: Component.
        status: Exit status as ``subprocess`` gives it, negative for a signal.
        log: Its log file.
    """
    lines = tail(log)
    cls = _BY_EXIT_CODE.get(status, Broken)
    # The first error is the cause: a parent that repeats its child's end comes after the child.
    for at, line in enumerate(lines):
        found = _ERROR.match(line)
        if found:
            fix = lines[at + 1].removeprefix(_FIX) if lines[at + 1 : at + 2] and lines[at + 1].startswith(_FIX) else ""
            return cls(
                f"{name}: {found['message']}",
                reason=found["reason"],
                fix=f"{fix} The whole log: {log}".strip(),
                metadata={"log": str(log)},
            )
    said = "\n    ".join(lines[-_TAIL_LINES:]) or "(nothing)"
    return cls(
        f"{name} did not start: it {ended(status)}. Its last lines:\n    {said}",
        reason="COMPONENT_FAILED",
        fix=f"The whole log: {log}",
        metadata={"log": str(log)},
    )


def ended(status: int) -> str:
    """How a process ended, for people.

    >>> ended(-9), ended(3)
    ('was killed by SIGKILL', 'ended with code 3')
    """
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with code {status}"


def tail(log: Path, most: int = 64 * 1024) -> Sequence[str]:
    """The last lines of a log, at most ``most`` bytes of them."""
    with log.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - most))
        return file.read().decode(errors="replace").splitlines()
