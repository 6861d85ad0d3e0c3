"""Whether an endpoint holds work and finishes none, and when it is tried again. Pure.

A server whose health check passes while its model hangs fails no call by itself: its calls just do not end. What gives
it away is that others answer and it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# Seconds without an answer that are never too long.
SHORTEST = 1.5
# As many times longer than the slowest hundredth of calls.
_TIMES = 20.0
# Seconds after which a call that was given up says something of its endpoint.
_LONG = 0.25
# One long call is no evidence.
_CALLS = 2
_FIRST_WAIT = 2.0
_LONGEST_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class Spell:
    """An endpoint's time without an answer while it had work: since when (monotonic seconds), and how many calls it
    took in it. The default: it has answered, or has no work."""

    since: float | None = None
    calls: int = 0

    def counted(self, issued: int, answered: int, under_way: int, at: float) -> Spell:
        """The spell after one more report."""
        if answered or not (issued or under_way):
            return Spell(at, under_way) if under_way else Spell()
        return Spell(at if self.since is None else self.since, max(under_way, self.calls + issued))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an endpoint stands that was found stuck: ``out`` of rotation ``until`` a moment, or back on trial.

    ``since`` is when it was first found stuck, ``wait`` how long it is out. A trial began at ``tried``, when the
    endpoint had taken ``calls`` without an answer; ``asked`` is when it was seen to have another one.
    """

    since: float
    until: float
    wait: float
    evidence: str
    out: bool = True
    tried: float = 0.0
    calls: int = 0
    asked: float | None = None


def patience(slowest: float) -> float:
    """Seconds without an answer after which an endpoint is stuck; ``slowest`` is its model's 99th percentile.

    >>> patience(0.02), patience(1.5)
    (1.5, 30.0)
    """
    return max(SHORTEST, _TIMES * slowest)


def long(slowest: float) -> float:
    """Seconds after which a call that was given up was long overdue; ``slowest`` as above.

    >>> long(0.001), long(0.02)
    (0.25, 0.4)
    """
    return max(_LONG, _TIMES * slowest)


def step(
    standing: Standing | None, spell: Spell, answered_at: float, limit: float, *, others_answer: bool, now: float
) -> Standing | None:
    """Where an endpoint stands after one more look; None: in good standing.

    ``answered_at``: its last answer. ``limit``: see :func:`patience`. ``others_answer``: another endpoint of the model
    does; without one nobody is stuck, since nobody is better.
    """
    if standing is None:
        held = 0.0 if spell.since is None else now - spell.since
        if held < limit or spell.calls < _CALLS or not others_answer:
            return None
        return Standing(now, now + _FIRST_WAIT, _FIRST_WAIT, _evidence(spell.calls, held))
    if standing.out:
        if now < standing.until and others_answer:
            return standing
        return replace(standing, out=False, tried=now, calls=spell.calls, asked=None)
    if answered_at > standing.tried:
        return None
    asked = standing.asked
    if asked is None:
        new = spell.since is not None and (spell.since >= standing.tried or spell.calls > standing.calls)
        return replace(standing, asked=now) if new else standing
    if now - asked < limit or not others_answer:
        return standing
    wait = min(_LONGEST_WAIT, 2 * standing.wait)
    return replace(standing, out=True, until=now + wait, wait=wait)


def _evidence(calls: int, seconds: float) -> str:
    return f"it held {calls} calls and answered none of them for {seconds:.1f} s, while others answered"
