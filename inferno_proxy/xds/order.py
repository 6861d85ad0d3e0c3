"""The order of types on one stream: make before break.

New and changed resources go clusters, endpoints, listeners, routes; listeners and routes wait until the client has
answered for every cluster they may name. Clusters and endpoints that are gone are taken away once listeners and routes
have been accepted. Both waits are bounded. A changed cluster has its endpoints sent again, a changed listener its
routes, because the client waits for them (Envoy: up to 15 s) even if they are unchanged.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol, cast

from inferno_proxy.publishing.snapshot import Dialect, Resource, ResourceType, Snapshot, content_version
from inferno_proxy.xds.subscription import NOTHING, Named, Offer, Subscription, next_group, sent

_FIRST = (str(ResourceType.CLUSTER), str(ResourceType.ENDPOINT))
_FOLLOWERS = (str(ResourceType.LISTENER), str(ResourceType.ROUTE))
_POSITION = {str(kind): index for index, kind in enumerate(ResourceType)}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long, in seconds, listeners and routes wait for clusters (``additions``), and clusters that are gone wait
    for listeners and routes (``removals``)."""

    additions: float = 1.0
    removals: float = 10.0


@dataclass(frozen=True, slots=True)
class Session:
    """One stream: its client's dialect, a subscription per type URL, and since when something waits (seconds)."""

    dialect: Dialect
    subscriptions: Mapping[str, Subscription] = field(default_factory=lambda: MappingProxyType({}))
    additions_wait: float | None = None
    removals_wait: float | None = None
    answers: int = 0

    def holding(self, sub: Subscription) -> Session:
        """The session with one subscription replaced or added."""
        return replace(self, subscriptions={**self.subscriptions, sub.type: sub})

    @property
    def applied(self) -> int:
        """The greatest snapshot serial answered for every type subscribed to; 0 before the first subscription."""
        return min((sub.answered for sub in self.subscriptions.values()), default=0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to encode: resources, names that do not exist (delta), and the names of type, version and nonce."""

    type: str
    version: str
    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """The session after a step, what to send now, and when (seconds) time alone would give something to send."""

    session: Session
    answer: Answer | None = None
    look_again: float | None = None


class OfferRule(Protocol):
    """``offer`` of :mod:`~inferno_proxy.xds.sotw` or :mod:`~inferno_proxy.xds.delta`."""

    def __call__(self, sub: Subscription, available: Named, *, removals: bool) -> Offer | None: ...


@dataclass(frozen=True, slots=True)
class World:
    """What a step depends on besides the session: the snapshot, the moment (monotonic seconds), the protocol's rules.

    ``version`` names the content of a type: its hash, which a caller with many streams remembers.
    """

    snapshot: Snapshot
    now: float
    offer: OfferRule
    bounds: Bounds = Bounds()
    version: Callable[[Named], str] = content_version

    def available(self, url: str) -> Named:
        """The snapshot's resources of a type, none for a type that is not served."""
        # A ResourceType is its type URL, so a URL finds its entry, and one that is not served finds nothing.
        by_url = cast("Mapping[str, Named]", self.snapshot.resources)
        return by_url.get(url, NOTHING)


def step(session: Session, world: World) -> Step:
    """Decide the next answer on a stream. Call again after each answer, request and snapshot, and at ``look_again``."""
    forward = _additions(session, world)
    if forward.answer is not None:
        return forward
    backward = _removals(forward.session, world)
    times = [t for t in (forward.look_again, backward.look_again) if t is not None]
    return replace(backward, look_again=min(times, default=None))


def _additions(session: Session, world: World) -> Step:
    waits = None
    for url in _ordered(session.subscriptions):
        sub, available = session.subscriptions[url], world.available(url)
        if sub.carried is not None or (sub.quiet is available and not _urgent(sub)):
            if sub.carried is None:
                session = _answered(session, sub, world)
            continue
        full = _with_blanks(session.dialect, sub, available, removals=False)
        sub, offer = _offer(sub, full, world, removals=url not in _FIRST)
        if offer is None:
            session = _answered(session, replace(sub, quiet=available), world)
        elif url in _FOLLOWERS and not _ready(session, world):
            waits = world.now if session.additions_wait is None else session.additions_wait
            if world.now - waits >= world.bounds.additions:
                return _send(session, sub, offer, world)
        else:
            return _send(session, sub, offer, world)
    look_again = None if waits is None else waits + world.bounds.additions
    return Step(replace(session, additions_wait=waits), None, look_again)


def _removals(session: Session, world: World) -> Step:
    followers = [session.subscriptions[url] for url in _FOLLOWERS if url in session.subscriptions]
    # A client that reconnects asks for its types one by one; until it has asked for routes, they may be in use.
    settled = (
        ResourceType.ROUTE in session.subscriptions
        and session.additions_wait is None
        and all(f.carried is None and not f.refused for f in followers)
    )
    for url in _FIRST:
        sub = session.subscriptions.get(url)
        available = world.available(url)
        if sub is None or sub.carried is not None or sub.clean is available:
            continue
        full = _with_blanks(session.dialect, sub, available, removals=True)
        sub, offer = _offer(sub, full, world, removals=True)
        if offer is None:
            session = session.holding(replace(sub, clean=available))
            continue
        since = world.now if session.removals_wait is None else session.removals_wait
        # One that names what it wants gives up by itself what it needs no longer, so it is not hurried.
        if (settled and sub.wildcard) or world.now - since >= world.bounds.removals:
            return _send(session, sub, offer, world)
        return Step(replace(session, removals_wait=since), None, since + world.bounds.removals)
    return Step(replace(session, removals_wait=None))


def _ordered(urls: Iterable[str]) -> list[str]:
    return sorted(urls, key=lambda url: (_POSITION.get(url, len(_POSITION)), url))


def _urgent(sub: Subscription) -> bool:
    return bool(sub.owed or sub.must_answer or sub.groups)


def _answered(session: Session, sub: Subscription, world: World) -> Session:
    serial = max(sub.answered, world.snapshot.serial)
    if serial == sub.answered and session.subscriptions[sub.type] is sub:
        return session
    return session.holding(replace(sub, answered=serial))


def _offer(sub: Subscription, available: Named, world: World, *, removals: bool) -> tuple[Subscription, Offer | None]:
    sub, again = next_group(sub, available)
    return sub, again or world.offer(sub, available, removals=removals)


def _with_blanks(dialect: Dialect, sub: Subscription, available: Named, *, removals: bool) -> Named:
    """Envoy holds up a cluster whose endpoints nobody knows, so unknown ones are answered as having none.

    Endpoints it does have are not blanked before the routes to them are gone.
    """
    if sub.type != ResourceType.ENDPOINT or dialect is not Dialect.ENVOY:
        return available
    blanks = {}
    for name in sub.names - available.keys():
        blank, before = blank_endpoints(name), sub.told.get(name)
        if removals or before is None or before.version in {"", blank.version}:
            blanks[name] = blank
    return ChainMap(blanks, available) if blanks else available  # type: ignore[arg-type]


def blank_endpoints(name: str) -> Resource:
    """A ``ClusterLoadAssignment`` without endpoints: field 1, ``cluster_name``, alone."""
    raw = name.encode()
    size, prefix = len(raw), bytearray(b"\x0a")
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return Resource.of(name, bytes(prefix) + raw)


def _ready(session: Session, world: World) -> bool:
    """True when the client has answered for every cluster a route may name, and for its endpoints.

    Endpoints are named after their cluster. A client that refused clusters does not ask for their endpoints, so they
    are not waited for; one that asks for no clusters at all (gRPC, before it knows a route) waits for nothing.
    """
    clusters = session.subscriptions.get(ResourceType.CLUSTER)
    if clusters is None:
        return True
    available = world.available(ResourceType.CLUSTER)
    if clusters.unknown(available):
        return False
    if clusters.refused:
        return True
    expected = {n for n in world.available(ResourceType.ENDPOINT) if n in available and clusters.wants(n)}
    endpoints = session.subscriptions.get(ResourceType.ENDPOINT)
    return not expected - (endpoints.known if endpoints else frozenset())


def _send(session: Session, sub: Subscription, offer: Offer, world: World) -> Step:
    version = world.version(world.available(sub.type))
    if offer.kept:
        version = f"{version}+{content_version(offer.kept)}"
    nonce = str(session.answers + 1)
    changed = _changed(sub.told, offer)
    after = session.holding(sent(sub, offer, nonce=nonce, version=version, serial=world.snapshot.serial))
    if sub.type == ResourceType.CLUSTER:
        after = _repeat(after, ResourceType.ENDPOINT, changed)
    elif sub.type == ResourceType.LISTENER and changed:
        after = _repeat(after, ResourceType.ROUTE, None)
    return Step(
        replace(after, answers=session.answers + 1), Answer(sub.type, version, nonce, offer.resources, offer.removed)
    )


def _changed(before: Named, offer: Offer) -> frozenset[str]:
    return frozenset(
        n for n, r in offer.told.items() if r.version and (n not in before or before[n].version != r.version)
    )


def _repeat(session: Session, kind: ResourceType, names: frozenset[str] | None) -> Session:
    """Owe the client what it waits for after a change of what refers to it; ``names`` None stands for all of them."""
    sub = session.subscriptions.get(kind)
    if sub is None:
        return session
    again = sub.names if names is None else names & (sub.names | sub.told.keys())
    return session.holding(replace(sub, owed=sub.owed | again, rewarm=again)) if again else session
