"""The ends of a Triton's lives: what is known of one, and when several are a crash loop. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from inferno_runtime.errors import InfernoError, TimedOut, Unavailable

# The first end may be bad luck and the second its echo.
_LOOP = 3


@dataclass(frozen=True, slots=True)
class End:
    """The end of one life.

    Attributes:
        cause: Why it ended, as a sentence.
        loading: Models that were being loaded at that moment.
        late: True when we ended it ourselves because it did not get ready in time.
        store: Address of the object store that its models are in; empty for a folder.
        own: False for a Triton that is somebody else's.
    """

    cause: str
    loading: frozenset[str] = frozenset()
    late: bool = False
    store: str = ""
    own: bool = True


@dataclass(frozen=True, slots=True)
class Ends:
    """When short lives ended, one after the other, in monotonic seconds. A steady life makes them forgotten."""

    moments: tuple[float, ...] = ()

    def after(self, now: float, *, steady: bool) -> Ends:
        """One more life has ended; ``steady`` when it had served for long enough."""
        return Ends() if steady else Ends((*self.moments, now))

    def told(self, cause: str, now: float, again_at: float) -> str:
        """What to say of the last end: why, whether it is a crash loop, and when the next start is (Unix seconds).

        >>> Ends((0.0, 2.0, 8.0)).told("It ended.", 8.0, 12.0)
        'It ended. Crash loop: it has ended 3 times in 8 s. It is started again at 00:00:12 UTC.'
        """
        if len(self.moments) < _LOOP:
            return f"{cause} It is started again."
        often = f"Crash loop: it has ended {len(self.moments)} times in {now - self.moments[0]:.0f} s."
        return f"{cause} {often} It is started again at {datetime.fromtimestamp(again_at, UTC):%H:%M:%S} UTC."

    def refusal(self, end: End, start_timeout: float) -> InfernoError | None:
        """Why a Triton that has never served is not started again; None when it is.

        A first start may fail because somebody took a free port in the meantime: it is tried twice.
        """
        waited = f"within {start_timeout:g} s (--start-timeout)"
        if end.late and not end.own:
            return Unavailable(
                f"{end.cause.rstrip('.')} {waited}.",
                reason="NO_TRITON",
                fix="Check --triton-url, and that Triton runs there with gRPC.",
            )
        if end.late:
            what = f": it was still loading {', '.join(sorted(end.loading))}" if end.loading else ""
            fix = "Give it longer with --start-timeout, or see triton/triton.log in the node's data folder."
            if end.store and not end.loading:
                # It tries for minutes and says nothing meanwhile.
                what = f": it has read no model from {end.store}"
                fix = "Check that the store answers, and the credentials in the environment (docs/triton.md)."
            return TimedOut(f"Triton did not get ready {waited}{what}.", reason="START_TIMEOUT", fix=fix)
        if len(self.moments) > 1:
            return Unavailable(
                f"Triton does not start. {end.cause}",
                reason="TRITON_FAILED",
                fix="Its log is triton/triton.log in the node's data folder.",
            )
        return None
