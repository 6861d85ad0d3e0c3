"""State of the world: every request lists all the names wanted, an answer of clusters or listeners is complete."""

from __future__ import annotations

from dataclasses import dataclass, replace

from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.xds.subscription import (
    WILDCARD,
    Caller,
    Named,
    Offer,
    Reply,
    Subscription,
    changes,
    narrow,
    settle,
    split,
)


@dataclass(frozen=True, slots=True)
class Request:
    """A ``DiscoveryRequest``. ``error`` is None unless the client refuses the answer named by ``nonce``."""

    type: str
    names: tuple[str, ...] = ()
    nonce: str = ""
    version: str = ""
    error: str | None = None
    caller: Caller | None = None


def receive(before: Subscription | None, request: Request) -> tuple[Subscription, Reply]:
    """Take a request in: what it wants, and what it says about the last answer.

    The names count whatever the nonce is, so a change of subscription that crosses an answer on the wire is not lost.
    A request that repeats the last one while nothing is in flight asks for the same names again: that is how Envoy
    asks for endpoints when a changed cluster warms.
    """
    sub, reply = settle(before or Subscription(request.type), request.nonce, request.error)
    if reply is Reply.NACK and not sub.full_state:
        sub = split(sub, before.carried if before and before.carried else {})
    names = frozenset(request.names) - {WILDCARD}
    ever_named = sub.ever_named or bool(request.names)
    wildcard = WILDCARD in request.names or (sub.full_state and not ever_named)
    added = names - sub.names
    more = bool(added) or (wildcard and not sub.wildcard) or before is None
    owed = added
    if _repeats(sub, request, names) and reply is Reply.NONE:
        owed = ((sub.rewarm & names) or names) - sub.refused.keys()
    sub = narrow(sub, names, wildcard=wildcard)
    return (
        replace(
            sub,
            ever_named=ever_named,
            owed=sub.owed | owed,
            must_answer=sub.must_answer or (sub.full_state and more),
        ),
        reply,
    )


def _repeats(sub: Subscription, request: Request, names: frozenset[str]) -> bool:
    idle = sub.carried is None and request.error is None
    return idle and bool(sub.nonce) and request.nonce == sub.nonce and names == sub.names and not sub.full_state


def offer(sub: Subscription, available: Named, *, removals: bool) -> Offer | None:
    """What to send now, or None. Without ``removals``, resources that are gone stay in a complete answer."""
    return _everything(sub, available, removals=removals) if sub.full_state else _changes(sub, available)


def _everything(sub: Subscription, available: Named, *, removals: bool) -> Offer | None:
    target = {n: available[n] for n in sub.wanted(available) if n in available}
    kept: dict[str, Resource] = {}
    if not removals:
        kept = {n: r for n, r in sub.told.items() if n not in available and sub.wants(n)}
        target |= kept
    if not sub.must_answer and _same(target, sub.told):
        return None
    return Offer(tuple(target[n] for n in sorted(target)), (), target, complete=True, kept=kept)


def _same(one: Named, other: Named) -> bool:
    return len(one) == len(other) and all(n in other and other[n].version == r.version for n, r in one.items())


def _changes(sub: Subscription, available: Named) -> Offer | None:
    """Only what changed: for these types absence is no deletion, and a missing name is sent once it exists."""
    told = changes(sub, available)
    return Offer(tuple(told.values()), (), told) if told else None
