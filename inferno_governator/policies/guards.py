"""What no policy may go beyond. Each guard is a question to one proposal; the first that objects is told.

Guards see what has been done lately and what was already allowed at this look, and never trust a policy: what a policy
promises about demand, minimums or idleness is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from inferno_governator.decisions.fleet import FleetFacts, ModelFacts, NodeFacts, NodeState, PoolFacts
from inferno_governator.decisions.history import Action, Outcome
from inferno_governator.decisions.proposal import Proposal, Reason, Ruling, Verb
from inferno_governator.policies.budget import EDGE
from inferno_governator.policies.fill import expected, fills, pools, supply
from inferno_governator.policies.objective_at_risk import felt
from inferno_governator.policies.settings import GuardSettings, PolicySettings
from inferno_governator.policies.starting import room

_HOUR = 3600.0
# What is done to save money; anything else keeps a promise.
SAVING = frozenset({Reason.BUDGET, Reason.IDLE, Reason.UNDER_UTILISED, Reason.CHEAPER_MIX})
_USELESS = (NodeState.SICK, NodeState.LOST)


@dataclass
class _Look:
    """One look: what is known, and what was allowed so far."""

    facts: FleetFacts
    policies: PolicySettings
    settings: GuardSettings
    history: Sequence[Action]
    allowed: list[Proposal] = field(default_factory=list)

    def lately(self, verb: Verb) -> int:
        """Actions of a kind that began within the last hour, or were allowed at this look."""
        begun = sum(
            each.verb is verb and each.outcome is not Outcome.WITHDRAWN and each.begun_at > self.facts.at - _HOUR
            for each in self.history
        )
        return begun + sum(each.verb is verb for each in self.allowed)

    def leaving(self) -> set[str]:
        """Nodes that were allowed to be stopped at this look."""
        return {each.node for each in self.allowed if each.verb is Verb.STOP}

    def node(self, name: str) -> NodeFacts | None:
        return next((node for node in self.facts.nodes if node.node == name), None)


def rule(
    proposals: Iterable[Proposal],
    facts: FleetFacts,
    policies: PolicySettings,
    settings: GuardSettings,
    history: Sequence[Action],
) -> list[Ruling]:
    """What the guards say to each proposal, in its order: what is allowed to one counts for the next."""
    look = _Look(facts, policies, settings, history)
    found = []
    for proposal in proposals:
        ruling = _one(look, proposal)
        if ruling.allowed:
            look.allowed.append(proposal)
        found.append(ruling)
    return found


def _one(look: _Look, proposal: Proposal) -> Ruling:
    pool = pools(look.facts).get(proposal.pool)
    if pool is None:
        return Ruling(proposal, "pool", f"there is no pool {proposal.pool!r} any more")
    if proposal.verb is Verb.START:
        for name, start in _STARTS:
            if sentence := start(look, proposal, pool):
                return Ruling(proposal, name, sentence)
        return Ruling(proposal)
    node = look.node(proposal.node)
    if node is None or node.pool != proposal.pool:
        return Ruling(proposal, "ours", f"{proposal.node} is no node of pool {proposal.pool}")
    for name, stop in _STOPS:
        if sentence := stop(look, proposal, pool, node):
            return Ruling(proposal, name, sentence)
    return Ruling(proposal)


def _stale(look: _Look, proposal: Proposal) -> str:
    limits = {
        "telemetry": look.settings.telemetry_max_age_seconds,
        "providers": look.settings.providers_max_age_seconds,
        "prices": look.settings.prices_max_age_seconds,
    }
    for name, limit in limits.items():
        if name == "prices" and proposal.reason not in SAVING:
            continue
        age = look.facts.ages.get(name)
        if age is None and name == "telemetry":
            return "there is no telemetry: nothing is done on what is not known"
        if age is not None and age > limit:
            return f"{name} are {age:.0f} s old, more than {limit:.0f} s: nothing is done on what may be over"
    return ""


def _price(proposal: Proposal, pool: PoolFacts) -> str:
    if proposal.reason in SAVING and pool.unpriced:
        return f"the price of pool {pool.pool} may not be acted on: {pool.unpriced}"
    return ""


def _start_budget(look: _Look) -> str:
    done = look.lately(Verb.START)
    if done >= look.settings.starts_per_hour:
        return f"{done} nodes were started within the hour, and {look.settings.starts_per_hour} may be"
    return ""


def _maximum(look: _Look, pool: PoolFacts) -> str:
    allowed = sum(each.verb is Verb.START and each.pool == pool.pool for each in look.allowed)
    if room(look.facts, pool) <= allowed:
        return f"pool {pool.pool} may have {pool.maximum} nodes, and has them or will"
    return ""


def _failed_start(look: _Look, pool: PoolFacts) -> str:
    wait = look.settings.cooldown_seconds
    for each in look.history:
        ended = each.ended_at
        if each.verb is not Verb.START or each.pool != pool.pool or each.outcome is not Outcome.FAILED or ended is None:
            continue
        if look.facts.at - ended < wait:
            return f"a start in pool {pool.pool} failed {look.facts.at - ended:.0f} s ago, and {wait:.0f} s are waited"
    return ""


def _ours(look: _Look, node: NodeFacts) -> str:
    if not node.ours:
        return f"{node.node} was not started by this governator: its provider has no tag of ours on it"
    if node.state is NodeState.DRAINING or node.node in look.leaving():
        return f"{node.node} is being stopped already"
    return ""


def _stop_budget(look: _Look) -> str:
    done = look.lately(Verb.STOP)
    if done >= look.settings.stops_per_hour:
        return f"{done} nodes were stopped within the hour, and {look.settings.stops_per_hour} may be"
    return ""


def _cooldown(look: _Look, proposal: Proposal, pool: PoolFacts) -> str:
    """From the end of an action, not from its beginning: what a start of ten minutes does is seen only after it."""
    if proposal.reason not in SAVING:
        return ""
    wait = look.settings.cooldown_seconds
    ends = [each.ended_at for each in look.history if each.pool == pool.pool and each.ended_at is not None]
    if ends and look.facts.at - max(ends) < wait:
        since = look.facts.at - max(ends)
        return f"an action in pool {pool.pool} ended {since:.0f} s ago, and {wait:.0f} s are waited"
    return ""


def _busy(proposal: Proposal, node: NodeFacts) -> str:
    """A request counts until its last message has gone, so an open stream keeps its node from being idle."""
    if proposal.reason is Reason.IDLE and node.running > 0:
        return f"{node.node} still has {node.running} requests, streams included"
    return ""


def _minimum(look: _Look, pool: PoolFacts, node: NodeFacts) -> str:
    if node.state in _USELESS:
        return ""
    left = [each for each in _serving(look) if each.node != node.node]
    there = sum(each.pool == pool.pool for each in left)
    if there < pool.minimum:
        return f"pool {pool.pool} must have {pool.minimum} nodes, and {there} would serve without {node.node}"
    for model in look.facts.models:
        there = sum(model.model in each.models for each in left)
        if model.model in node.models and there < model.minimum:
            return f"{model.model} must have {model.minimum} nodes, and {there} would serve it without {node.node}"
    return ""


def _blast(look: _Look, node: NodeFacts) -> str:
    if node.state in _USELESS:
        return ""
    leaving = look.leaving()
    for model in node.models:
        there = [each for each in look.facts.nodes if model in each.models and each.state not in _USELESS]
        most = max(1, int(look.settings.blast_radius * len(there)))
        gone = sum(each.node in leaving or each.state is NodeState.DRAINING for each in there)
        if gone >= most:
            return f"{gone} of the {len(there)} nodes of {model} are stopping, and {most} may at once"
    return ""


def _objective(look: _Look, proposal: Proposal, node: NodeFacts) -> str:
    """With what is left the objective must hold, whatever the policy thought; what starts carries nothing yet."""
    if node.state in _USELESS:
        return ""
    for model in look.facts.models:
        if model.model in node.models and (sentence := _felt(look, model)):
            return sentence
    limit = EDGE if proposal.reason is Reason.BUDGET else look.policies.fill.upper
    found = fills(look.facts, [each for each in _serving(look) if each.node != node.node], expected(look.facts))
    for name in node.models:
        if found.get(name, 0.0) > limit:
            return f"without {node.node} the nodes of {name} would be filled to {found[name]:.0%}, over {limit:.0%}"
    return ""


def _felt(look: _Look, model: ModelFacts) -> str:
    """Requests feel it already, or nearly: what capacities say of this model is then not to be trusted."""
    sentence, _ = felt(look.facts, model, look.policies.risk)
    if not sentence and model.objective > 0 and model.latency > look.policies.risk.calm_share * model.objective:
        share = model.latency / model.objective
        return f"{model.model} takes {share:.0%} of the promised latency: fewer nodes may take it beyond"
    return sentence


def _serving(look: _Look) -> list[NodeFacts]:
    return [node for node in supply(look.facts, look.leaving()) if node.state is NodeState.SERVING]


_Start = Callable[[_Look, Proposal, PoolFacts], str]
_Stop = Callable[[_Look, Proposal, PoolFacts, NodeFacts], str]

_STARTS: tuple[tuple[str, _Start], ...] = (
    ("stale", lambda look, proposal, _: _stale(look, proposal)),
    ("price", lambda _, proposal, pool: _price(proposal, pool)),
    ("maximum", lambda look, _, pool: _maximum(look, pool)),
    ("action_budget", lambda look, *_: _start_budget(look)),
    ("cooldown", lambda look, _, pool: _failed_start(look, pool)),
)
_STOPS: tuple[tuple[str, _Stop], ...] = (
    ("stale", lambda look, proposal, *_: _stale(look, proposal)),
    ("price", lambda _, proposal, pool, __: _price(proposal, pool)),
    ("ours", lambda look, _, __, node: _ours(look, node)),
    ("busy", lambda _, proposal, __, node: _busy(proposal, node)),
    ("minimum", lambda look, _, pool, node: _minimum(look, pool, node)),
    ("objective", lambda look, proposal, _, node: _objective(look, proposal, node)),
    ("cooldown", lambda look, proposal, pool, _: _cooldown(look, proposal, pool)),
    ("action_budget", lambda look, *_: _stop_budget(look)),
    ("blast_radius", lambda look, *rest: _blast(look, rest[-1])),
)
