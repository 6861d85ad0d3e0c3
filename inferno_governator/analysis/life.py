"""How long a node lived unmeasured: what is billed as overhead though nothing was measured in it. Pure."""

from __future__ import annotations

_HOUR = 3_600_000_000
# Longer than this a silence is not billed when nothing says that samples were lost in it: a machine that was suspended
# and a clock that was set ahead look the same.
SILENCE_MICROS = _HOUR // 6
# Longer than this a start is not: a machine loads its models for minutes.
START_MICROS = _HOUR
# Longer than this it is not billed at all.
LOSS_MICROS = 24 * _HOUR
# Shorter than this it is the jitter of sampling.
_JITTER = 1_000_000


def unmeasured(incarnation: int, last_micros: int, first_micros: int, *, lost: bool) -> tuple[int, int] | None:
    """From when until when a node lived before its samples that begin at ``first_micros``, and was not measured.

    Args:
        incarnation: The life's number. Where it is a Unix time in nanoseconds, as our nodes count, the life began then.
        last_micros: End of the samples of this life before (Unix microseconds); 0: these are its first.
        first_micros: Start of the samples that came now (Unix microseconds).
        lost: The node dropped samples, or batches never arrived, in between: it lived.

    >>> unmeasured(1, 5_000_000, 65_000_000, lost=False)
    (5000000, 65000000)
    >>> unmeasured(1, 0, 1_700_000_000_000_000, lost=False)
    """
    since = last_micros or incarnation // 1000
    longest = (LOSS_MICROS if lost else SILENCE_MICROS) if last_micros else START_MICROS
    return (since, first_micros) if _JITTER <= first_micros - since <= longest else None
