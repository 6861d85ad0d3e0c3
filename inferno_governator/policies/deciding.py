"""One look at the fleet: policies speak in the order of their reasons, guards answer, and one reason acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pydantic

from inferno_governator.decisions.fleet import FleetFacts, NodeFacts, NodeState
from inferno_governator.decisions.history import Action
from inferno_governator.decisions.proposal import Proposal, Reason, Ruling, Verb
from inferno_governator.policies import (
    below_minimum,
    budget,
    cheaper_mix,
    guards,
    idle,
    objective_at_risk,
    sick_node,
    spot_notice,
    under_utilised,
)
from inferno_governator.policies.fill import pools
from inferno_governator.policies.settings import GuardSettings, PolicySettings

_UP = (NodeState.STARTING, NodeState.SERVING)
_Policy = Callable[[FleetFacts, PolicySettings, Sequence[Action]], list[Proposal]]


class DecidingSettings(pydantic.BaseModel):
    """All that :func:`decide` may be told."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    policies: PolicySettings = PolicySettings()
    guards: GuardSettings = GuardSettings()


_POLICIES: dict[Reason, _Policy] = {
    Reason.SICK_NODE: lambda facts, own, history: sick_node.propose(facts, own.sick_node, history),
    Reason.SPOT_NOTICE: lambda facts, _, history: spot_notice.propose(facts, history),
    Reason.BELOW_MINIMUM: lambda facts, *_: below_minimum.propose(facts),
    Reason.OBJECTIVE_AT_RISK: lambda facts, own, _: objective_at_risk.propose(facts, own.fill, own.risk),
    Reason.BUDGET: lambda facts, *_: budget.propose(facts),
    Reason.IDLE: lambda facts, own, _: idle.propose(facts, own.fill, own.calm),
    Reason.UNDER_UTILISED: lambda facts, own, _: under_utilised.propose(facts, own.fill, own.calm),
    Reason.CHEAPER_MIX: lambda facts, own, history: cheaper_mix.propose(facts, own.mix, history),
}


def decide(facts: FleetFacts, settings: DecidingSettings, history: Sequence[Action]) -> list[Ruling]:
    """What to do now, and what was thought of and forbidden.

    Reasons are gone through in the order of :class:`Reason`, up to the first of which something is allowed: a look acts
    for one reason only, so that each action can be explained by what was seen before it (as karpenter does). Of reasons
    before that one, the list holds what guards forbade.

    Args:
        facts: The fleet now.
        settings: Of policies and guards.
        history: Actions of the last hour at least, those under way, and starts in the place of nodes still there.

    Returns:
        Rulings in the order in which they were made; those that are ``allowed`` are to be carried out.
    """
    found: list[Ruling] = []
    facts = under_way(facts, history)
    for reason in Reason:
        proposals = _POLICIES[reason](facts, settings.policies, history)
        found += guards.rule(proposals, facts, settings.policies, settings.guards, history)
        if any(each.allowed for each in found):
            break
    return found


def under_way(facts: FleetFacts, history: Sequence[Action]) -> FleetFacts:
    """The fleet as it will be once what is under way is done, so that nothing is proposed twice.

    A node that was asked for and that nobody has seen yet starts; one whose stop has begun drains.
    """
    open_ = [each for each in history if each.ended_at is None]
    stopping = {each.node for each in open_ if each.verb is Verb.STOP}
    nodes = [
        replace(node, state=NodeState.DRAINING) if node.node in stopping and node.state in _UP else node
        for node in facts.nodes
    ]
    seen = {node.node for node in nodes}
    known = pools(facts)
    for each in open_:
        pool = known.get(each.pool)
        if each.verb is Verb.START and pool and each.node not in seen:
            name = each.node or f"decision {each.decision}"
            price = pool.micros_per_hour
            nodes.append(NodeFacts(name, pool.pool, NodeState.STARTING, pool.models, each.begun_at, price))
    return replace(facts, nodes=tuple(nodes))
