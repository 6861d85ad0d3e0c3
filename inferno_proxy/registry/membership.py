"""What the control plane makes of one node: pure transitions of a :class:`Record`, and the verdict that follows.

A record knows facts (what the node said, whether its lease holds, what an operator wants, what a probe saw); the phase
follows from them, so no transition sets a phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_proxy.fleet import Address, Model, Node, NodeCondition, Phase, Source
from inferno_runtime.identity.preflight import moment

_NOTHING_WANTED: Mapping[str, Wanted] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the mesh wants of one model on a node; ``generation`` grows with each wish for it."""

    loaded: bool
    generation: int


@dataclass(frozen=True, slots=True)
class Record:
    """The facts about one node.

    Args:
        node: What the node says of itself, as last heard or seen by a probe.
        source: How it was discovered.
        life: Number of the lease that speaks for it; a lease with another number is fenced.
        live: The lease holds.
        attached: A stream carries the lease now.
        claim: Grows with each claim of an address in the fleet; of two nodes on one address the greater one is newer.
        drained: An operator wants it drained.
        drain_ends: When that is over, in Unix seconds; None: when it is taken back.
        wanted: Models the mesh wants loaded or unloaded.
        unheard: Why the lease does not hold, in words; empty while it does.
        unreachable: What the control plane's own probe saw when the node did not answer; empty when it did.
        withdrawn: Why the list that named it does not name it any more; empty while it does.
        takeovers: Moments (monotonic seconds) at which another machine took this node_id from a connected agent.
    """

    node: Node
    source: Source
    life: int
    live: bool = True
    attached: bool = False
    claim: int = 0
    drained: bool = False
    drain_ends: float | None = None
    wanted: Mapping[str, Wanted] = field(default_factory=lambda: _NOTHING_WANTED)
    unheard: str = ""
    unreachable: str = ""
    withdrawn: str = ""
    takeovers: tuple[float, ...] = ()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses this node claims."""
        return self.node.addresses

    @property
    def strength(self) -> tuple[bool, bool, int]:
        """How strong the claim to an address is: a word that holds first, then an agent's. Of two agents the newer one
        has replaced the other; of two that others name, who came first stays."""
        agent = self.source is Source.AGENT
        return self.live and not self.withdrawn, agent, self.claim if agent else -self.claim


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from the facts. ``reason`` is one sentence, empty when the node serves."""

    phase: Phase
    reason: str = ""


def judge(record: Record, rival: Record | None) -> Verdict:
    """The verdict on a node; ``rival`` is the strongest other node that claims one of its addresses."""
    node = record.node
    if rival is not None and rival.strength > record.strength:
        taken = next(a for a in record.addresses if a in rival.addresses)
        return Verdict(Phase.FAILED, f"Its address {taken} belongs to node {rival.node.node_id!r} now.")
    if node.condition is NodeCondition.FAILED:
        return Verdict(Phase.FAILED, node.condition_reason or "Its agent says that it failed.")
    if record.unreachable:
        return Verdict(Phase.FAILED, record.unreachable)
    if record.drained:
        until = "" if record.drain_ends is None else f" until {moment(record.drain_ends)}"
        return Verdict(Phase.DRAINING, f"An operator drained it{until}.")
    if record.withdrawn:
        return Verdict(Phase.DRAINING, record.withdrawn)
    if node.condition is NodeCondition.DRAINING:
        return Verdict(Phase.DRAINING, node.condition_reason or "Its agent drains it.")
    if not record.live:
        return Verdict(Phase.UNMANAGED, record.unheard)
    return Verdict(Phase.SERVING)


def same_life(before: Record, node: Node) -> bool:
    """True when a node that comes (back) is the life that is known, and not a newer one."""
    return before.node.incarnation == node.incarnation


def enter(
    before: Record | None,
    node: Node,
    source: Source,
    *,
    life: int,
    claim: int,
    attached: bool,
    takeovers: tuple[float, ...] = (),
) -> Record:
    """The record of a node that is let in.

    The same life keeps what the mesh wants of it, its claim while it stays where it is, and its newest word: an older
    revision is no news. A drain outlives a restart, because the operator asked for it by name.
    """
    fresh = Record(node=node, source=source, life=life, attached=attached, claim=claim, takeovers=takeovers)
    if before is None:
        return fresh
    fresh = replace(fresh, drained=before.drained, drain_ends=before.drain_ends)
    if not same_life(before, node):
        return fresh
    fresh = replace(fresh, wanted=before.wanted)
    if node.revision < before.node.revision:
        fresh = replace(fresh, node=before.node)
    return replace(fresh, claim=before.claim) if fresh.addresses == before.addresses else fresh


def lose(record: Record, unheard: str) -> Record:
    """The lease ended without a goodbye. The node serves on for as long as it answers."""
    return replace(record, live=False, unheard=unheard)


def renew(record: Record) -> Record:
    """The node was heard from again."""
    return replace(record, live=True, unheard="", unreachable="")


def change(record: Record, node: Node, claim: int) -> Record:
    """The node told of itself anew; ``claim`` counts only when it moved to other addresses."""
    changed = replace(record, node=node)
    return changed if changed.addresses == record.addresses else replace(changed, claim=claim)


def observe(record: Record, models: tuple[Model, ...], server_version: str) -> Record:
    """The probe read the node's models. What only an agent knows of a model stays as the agent said it.

    The revision of a node with an agent stays, so that the agent's own next word counts as newer.
    """
    known = {model.name: model for model in record.node.models}
    merged = tuple(
        replace(model, instance_count=model.instance_count or known[model.name].instance_count)
        if model.name in known
        else model
        for model in models
    )
    version = server_version or record.node.server_version
    if merged == record.node.models and version == record.node.server_version and not record.unreachable:
        return record
    grown = 0 if record.source is Source.AGENT else 1
    node = replace(record.node, models=merged, server_version=version, revision=record.node.revision + grown)
    return replace(record, node=node, unreachable="")


def miss(record: Record, evidence: str) -> Record:
    """The probe got no answer from the node; ``evidence`` is one sentence."""
    return replace(record, unreachable=evidence)


def drain(record: Record, *, drained: bool, ends: float | None = None) -> Record:
    """An operator drains the node, for good or until a moment, or takes that back."""
    return replace(record, drained=drained, drain_ends=ends)


def want(record: Record, model: str, *, loaded: bool) -> Record:
    """The mesh wants a model loaded on the node, or unloaded."""
    before = record.wanted.get(model)
    wish = Wanted(loaded, before.generation + 1 if before else 1)
    return replace(record, wanted=MappingProxyType({**record.wanted, model: wish}))
