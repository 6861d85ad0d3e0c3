"""Delta: requests add and remove names, answers carry what changed and what is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.xds.subscription import (
    WILDCARD,
    Caller,
    Named,
    Offer,
    Reply,
    Subscription,
    absent,
    changes,
    narrow,
    settle,
    split,
)


@dataclass(frozen=True, slots=True)
class Request:
    """A ``DeltaDiscoveryRequest``. ``held`` maps the names a reconnecting client has to their versions and counts on
    the first request of a type only. ``error`` is None unless the client refuses the answer named by ``nonce``."""

    type: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    held: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    nonce: str = ""
    error: str | None = None
    caller: Caller | None = None


def receive(before: Subscription | None, request: Request) -> tuple[Subscription, Reply]:
    """Take a request in: what it wants, and what it says about the last answer.

    A name that is subscribed to is owed an answer even if the client seems to have it: it may have forgotten it. A
    name that is given up while everything is wanted is owed one too, for the client no longer knows whether it has it.
    """
    sub, reply = settle(before or _begin(request), request.nonce, request.error)
    if reply is Reply.NACK:
        sub = split(sub, before.carried if before and before.carried else {})
    asked, dropped = frozenset(request.subscribe), frozenset(request.unsubscribe)
    # Naming nothing at first means everything; only an explicit "*" takes that back.
    everything = WILDCARD in asked or (before is None and not asked and sub.full_state)
    wildcard = everything or (sub.wildcard and WILDCARD not in dropped)
    names = (sub.names - dropped) | (asked - {WILDCARD})
    owed = (asked - {WILDCARD}) | (dropped & sub.names if wildcard else frozenset())
    must_answer = sub.must_answer or (wildcard and not sub.wildcard and not sub.told)
    # At first, what the client holds and did not ask for stays known, so that it hears of what is gone.
    sub = narrow(sub, names, wildcard=wildcard) if before else replace(sub, names=names, wildcard=wildcard)
    return replace(sub, owed=sub.owed | owed, must_answer=must_answer), reply


def _begin(request: Request) -> Subscription:
    held = {name: Resource(name, b"", version) for name, version in request.held.items()}
    return Subscription(request.type, told=held, known=frozenset(held))


def offer(sub: Subscription, available: Named, *, removals: bool) -> Offer | None:
    """What to send now, or None. Without ``removals``, the client is not told yet of what is gone and what it holds."""
    told = changes(sub, available)
    removed = sorted(
        n for n in (sub.told.keys() | sub.names | sub.owed) - available.keys() if _gone(sub, n, removals=removals)
    )
    if not told and not removed and not sub.must_answer:
        return None
    resources = tuple(told.values())
    told |= {name: absent(name) for name in removed}
    return Offer(resources, tuple(removed), told)


def _gone(sub: Subscription, name: str, *, removals: bool) -> bool:
    before = sub.told.get(name)
    if before is not None and before.version:
        return removals
    return before is None or name in sub.owed
