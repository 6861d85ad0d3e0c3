"""What a node reports of its load, held against what was observed. Pure.

A report may only lower the node's own share, at most fourfold, and only where nothing is observed: a node can neither
attract calls nor push them to others by what it says. No report is no claim: such a node is weighed as the others.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from inferno_proxy.feedback.advice import FULL_WEIGHT
from inferno_proxy.fleet import ModelLoad

# Seconds after which a report is no longer fresh: agents report each second.
FRESH = 5.0
# Seconds during which a node that was caught is not believed.
PENANCE = 60.0
_MOST_LESS = 4
# Twice as slow as the median is nothing: the next sample may say the opposite.
_NOTABLE = 2.0
# Queues are compared as if each were so much longer: 1 call against 0 is no difference.
_QUEUE_SLACK = 8
_HOUR_MICROS = 3_600_000_000
_RATE = 1_000_000
# A report lags behind what it reports by up to its interval, and so does a count of the data plane.
_LAG = 2.0
_SPAN = 4.0
_ANSWERS = 20
_LATENCY_TIMES = 5.0
_LATENCY_SLACK = 0.020


@dataclass(frozen=True, slots=True)
class Account:
    """What a node had reported of a model at a moment (monotonic seconds), and how many answers of it had been counted
    by then."""

    at: float
    load: ModelLoad
    answered: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What was observed of an endpoint: ``answered`` calls so far; their mean duration of late in seconds, 0 when
    unknown."""

    answered: int
    seconds: float


class Ledger:
    """The accounts of one endpoint over the last seconds."""

    __slots__ = ("_accounts",)

    def __init__(self) -> None:
        self._accounts: deque[Account] = deque()

    def enter(self, load: ModelLoad, at: float, seen: Seen) -> str:
        """Take a report in. Returns why it cannot be true, empty when it may be."""
        accounts = self._accounts
        if accounts and at <= accounts[-1].at:
            return ""
        before = accounts[-1] if accounts else None
        if not seen.answered:
            # Nothing to compare with: the last one is enough.
            accounts.clear()
        accounts.append(Account(at, load, seen.answered))
        while at - accounts[0].at > 2 * (_SPAN + _LAG):
            accounts.popleft()
        why = impossible(before, accounts[-1]) if before else negative(load)
        why = why or contradicted(tuple(accounts), seen)
        if why:
            # Each offence is held against the node once; what comes next is judged afresh.
            accounts.clear()
        return why


def negative(load: ModelLoad) -> str:
    """Why a report alone cannot be true."""
    # What comes as a fraction may also be no number at all, which is neither less than 0 nor more.
    whole = min(load.queued, load.completed, load.failed, load.latency_micros, load.service_micros)
    if whole < 0 or not 0 <= load.executing < math.inf:
        return "it reports a negative number"
    if max(load.latency_micros, load.service_micros) > _HOUR_MICROS:
        return "it reports a latency of more than an hour"
    return ""


def impossible(before: Account, after: Account) -> str:
    """Why a report cannot follow the one before it. Counts start anew only with another life of the node."""
    if why := negative(after.load):
        return why
    done = after.load.completed - before.load.completed
    if done < 0 or after.load.failed < before.load.failed:
        return "its count of finished calls went back"
    if done > _RATE * max(1.0, after.at - before.at):
        return f"it reports {done} calls finished within {after.at - before.at:.1f} s"
    return ""


def contradicted(accounts: tuple[Account, ...], seen: Seen) -> str:
    """Why reports cannot be true beside what was observed.

    The answers counted in the inner part of a span must show up in the node's own count over all of it: what either
    side reports late does not matter then.
    """
    last = accounts[-1]
    first = next((a for a in reversed(accounts) if last.at - a.at >= _SPAN + _LAG), None)
    inner = next((a for a in reversed(accounts) if last.at - a.at >= _LAG), None)
    if first is not None and inner is not None:
        answered = inner.answered - first.answered
        finished = last.load.completed + last.load.failed - first.load.completed - first.load.failed
        if answered >= _ANSWERS and 3 * finished < answered:
            what = "froze" if finished == 0 else f"grew by {finished}"
            return f"its count of finished calls {what} while {answered} answers of it were seen"
    claimed = last.load.latency_micros / 1e6
    if claimed and seen.seconds > _LATENCY_TIMES * claimed + _LATENCY_SLACK:
        return f"it reports {1000 * claimed:.1f} ms a call where {1000 * seen.seconds:.1f} ms were observed"
    return ""


def shares(claims: Mapping[str, ModelLoad]) -> dict[str, int]:
    """The weights of endpoints (by node_id) by nothing but what their nodes say, compared with the median of them."""
    if len(claims) < 2:
        return {}
    latency = _median([c.latency_micros for c in claims.values() if c.latency_micros])
    queued = _median([c.queued for c in claims.values()])
    found = {}
    for node, claim in claims.items():
        times = max(claim.latency_micros / max(1.0, latency), (claim.queued + _QUEUE_SLACK) / (queued + _QUEUE_SLACK))
        if times > _NOTABLE:
            found[node] = int(FULL_WEIGHT / min(_MOST_LESS, times))
    return found


def _median(values: list[int]) -> float:
    """The lower one of two in the middle: of two nodes the better one is the measure."""
    ordered = sorted(values)
    return float(ordered[(len(ordered) - 1) // 2]) if ordered else 0.0
