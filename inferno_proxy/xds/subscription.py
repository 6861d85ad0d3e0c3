"""What one client wants of one resource type, what it was told, and what it said to that: values and functions only.

:mod:`~inferno_proxy.xds.sotw` and :mod:`~inferno_proxy.xds.delta` hold the rules in which the two variants of the
protocol differ; :mod:`~inferno_proxy.xds.order` decides between types. Source of the rules: Envoy's
docs/root/api-docs/xds_protocol.rst.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType

from inferno_proxy.publishing.snapshot import Resource, ResourceType

Named = Mapping[str, Resource]
NOTHING: Named = MappingProxyType({})
NO_REASONS: Mapping[str, str] = MappingProxyType({})

# Types that a client may ask all of by naming nothing, and whose state-of-the-world answers are always complete.
FULL_STATE = frozenset({str(ResourceType.CLUSTER), str(ResourceType.LISTENER)})
WILDCARD = "*"
# Stands for "the whole answer" among refused names, when the refusal concerns no single resource.
_ANSWER = ""
# The version of what a client may or may not have; no content hash looks like it.
_UNSURE = "?"


@dataclass(frozen=True, slots=True)
class Caller:
    """What the first request of a stream says of its client: xDS node id, its own name for its software, and the texts
    in its metadata."""

    client_id: str
    user_agent: str
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_REASONS)


class Reply(Enum):
    """What a request says about the last answer."""

    NONE = "none"
    ACK = "ack"
    NACK = "nack"


@dataclass(frozen=True, slots=True)
class Offer:
    """What to tell a client: resources, and names that do not exist (``removed``; delta only).

    ``told`` is what the offer says of each name it speaks of; a resource without a version stands for an absent one.
    A ``complete`` offer says everything about its type, any other one leaves unnamed resources as they are. ``kept``
    are the resources that are gone from the snapshot and stay until no route needs them.
    """

    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    told: Named
    complete: bool = False
    kept: Named = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One resource type on one stream.

    What the client wants: ``names``, and everything when ``wildcard``. ``ever_named``: it has named something before,
    after which an empty list means nothing at all (state of the world).

    What it was told: ``told``, whether it accepted that or not, so that refused content is not sent again; ``known``
    are the names it has answered for. ``owed`` names are answered next even if unchanged; ``must_answer`` asks for an
    answer even if that is empty. ``groups`` are parts of a refused answer that are tried apart from each other, so that
    one bad resource does not keep good ones from the client. ``rewarm`` are the names whose repetition the client waits
    for after a change of what refers to them.

    The answer in flight: ``carried`` is what it says (None: none is in flight; there is never more than one, so a slow
    client costs one answer and not a queue), with its ``nonce``, version and snapshot serial.

    What it said: ``accepted`` is the last version it accepted, ``refused`` maps names to its reason, ``answered`` is
    the greatest snapshot serial it is known to have answered. ``quiet`` and ``clean`` are the resources for which there
    was nothing left to send, without and with removals: the same mapping need not be compared again.
    """

    type: str
    wildcard: bool = False
    names: frozenset[str] = frozenset()
    ever_named: bool = False
    told: Named = field(default_factory=lambda: NOTHING)
    known: frozenset[str] = frozenset()
    owed: frozenset[str] = frozenset()
    must_answer: bool = False
    groups: tuple[frozenset[str], ...] = ()
    rewarm: frozenset[str] = frozenset()
    nonce: str = ""
    carried: Named | None = None
    carried_serial: int = 0
    carried_version: str = ""
    answered: int = 0
    accepted: str = ""
    refused: Mapping[str, str] = field(default_factory=lambda: NO_REASONS)
    quiet: Named | None = None
    clean: Named | None = None

    @property
    def full_state(self) -> bool:
        """True for types whose state-of-the-world answers are complete."""
        return self.type in FULL_STATE

    @property
    def refusal(self) -> str:
        """The client's reason for refusing what it was told, empty when it runs all of it."""
        return next(iter(self.refused.values()), "")

    def wants(self, name: str) -> bool:
        """True when the client asked for this name, one by one or with everything."""
        return self.wildcard or name in self.names

    def wanted(self, available: Named) -> Set[str]:
        """The names to answer: what was named and, under a wildcard, everything there is."""
        return available.keys() | self.names if self.wildcard else self.names

    def unknown(self, available: Named) -> Set[str]:
        """Existing names that the client wants and has not answered for yet."""
        missing = available.keys() - self.known
        return missing if self.wildcard else missing & self.names


def settle(sub: Subscription, nonce: str, error: str | None) -> tuple[Subscription, Reply]:
    """Match a request with the answer in flight. A refusal is recognised by its error, never by comparing versions.

    A nonce that is not the latest says nothing: that answer has been replaced, or belongs to an earlier stream.
    """
    if sub.carried is None or nonce != sub.nonce:
        return sub, Reply.NONE
    complete, names = sub.carried is sub.told, sub.carried.keys()
    # A name that was reported gone and is not asked for by itself is forgotten, or names would pile up for ever.
    told = sub.told
    if any(not resource.version and n not in sub.names for n, resource in sub.carried.items()):
        told = {n: r for n, r in told.items() if r.version or n in sub.names}
    done = replace(
        sub,
        carried=None,
        told=told,
        known=frozenset((sub.known | names) & told.keys()),
        answered=max(sub.answered, sub.carried_serial),
        quiet=None,
        clean=None,
    )
    if error is None:
        left = {} if complete else {n: why for n, why in sub.refused.items() if n not in names and n != _ANSWER}
        return replace(done, accepted=sub.carried_version, refused=left), Reply.ACK
    concerned = (_ANSWER,) if complete or not names else [n for n in names if sub.wants(n)]
    # Envoy's reasons run over several lines.
    reason = " ".join(error.split()) or "no reason given"
    return replace(done, refused={**sub.refused, **dict.fromkeys(concerned, reason)}), Reply.NACK


def split(sub: Subscription, carried: Named) -> Subscription:
    """After a refusal: try the halves of the refused answer apart from each other, ever smaller, until the bad resource
    stands alone. A client may refuse a whole answer for one resource (Envoy does when one is invalid by its schema)."""
    names = sorted(carried)
    if len(names) < 2:
        return sub
    half = len(names) // 2
    # Whether the client took any of it is unknown, so no version counts as told until it is tried again.
    told = {n: Resource(n, r.body, _UNSURE) if n in carried and r.version else r for n, r in sub.told.items()}
    return replace(sub, told=told, groups=(frozenset(names[:half]), frozenset(names[half:]), *sub.groups))


def sent(sub: Subscription, offer: Offer, *, nonce: str, version: str, serial: int) -> Subscription:
    """The subscription once an offer is on its way."""
    return replace(
        sub,
        told=offer.told if offer.complete else {**sub.told, **offer.told},
        owed=sub.owed - offer.told.keys(),
        must_answer=False,
        nonce=nonce,
        carried=offer.told,
        carried_serial=serial,
        carried_version=version,
        quiet=None,
        clean=None,
    )


def narrow(sub: Subscription, names: frozenset[str], *, wildcard: bool) -> Subscription:
    """Change what the client wants; what it no longer wants is forgotten, for the client forgets it as well."""
    if names == sub.names and wildcard == sub.wildcard:
        return sub
    changed = replace(sub, names=names, wildcard=wildcard, quiet=None, clean=None)
    if wildcard:
        return changed
    return replace(
        changed,
        told={n: r for n, r in sub.told.items() if n in names},
        known=sub.known & names,
        owed=sub.owed & names,
        refused={n: why for n, why in sub.refused.items() if n in names or n == _ANSWER},
    )


def changes(sub: Subscription, available: Named) -> dict[str, Resource]:
    """The existing resources that are owed or differ from what the client was told, in order of their names."""
    found = {}
    for name in sub.wanted(available):
        resource, before = available.get(name), sub.told.get(name)
        if resource and (name in sub.owed or before is None or before.version != resource.version):
            found[name] = resource
    return dict(sorted(found.items()))


def next_group(sub: Subscription, available: Named) -> tuple[Subscription, Offer | None]:
    """Take the first group of which something is still to be tried."""
    for index, group in enumerate(sub.groups):
        wanted = sorted(n for n in group if sub.wants(n))
        found = {n: available[n] for n in wanted if n in available}
        # What existed when it was refused and is gone now is not told here: its removal may have to wait.
        gone = {n: absent(n) for n in wanted if n not in available and (n not in sub.told or not sub.told[n].version)}
        if found or gone:
            rest = replace(sub, groups=sub.groups[index + 1 :])
            return rest, Offer(tuple(found.values()), tuple(gone), found | gone)
    return (replace(sub, groups=()) if sub.groups else sub), None


def absent(name: str) -> Resource:
    """What a client is told of a name that does not exist."""
    return Resource(name, b"", "")
