"""A bound on failed joins: a guesser is slowed down and cannot fill the audit log. Joins that succeed cost nothing."""

from __future__ import annotations

from inferno_runtime.clock import Clock
from inferno_runtime.errors import Exhausted

_BURST = 20
# Seconds until one more may fail.
_EACH = 1.0


class FailedJoins:
    """Counts them: a burst, and one each second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = float(_BURST)
        self._at = clock.monotonic()

    def count(self) -> None:
        """Note one.

        Raises:
            Exhausted: TOO_MANY_FAILED_JOINS: this one is not worth an answer of its own.
        """
        now = self._clock.monotonic()
        self._left = min(float(_BURST), self._left + (now - self._at) / _EACH)
        self._at = now
        if self._left < 1:
            raise Exhausted(
                "Too many joins failed lately.",
                reason="TOO_MANY_FAILED_JOINS",
                fix="Check the token, and try again in a moment.",
                retry_after=_EACH,
            )
        self._left -= 1
