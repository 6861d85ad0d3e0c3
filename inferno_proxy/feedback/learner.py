"""What is known of the fleet's behaviour, and the advice that follows from it.

:class:`Learner` keeps the state; the judgement is in :mod:`~inferno_proxy.feedback.weights`,
:mod:`~inferno_proxy.feedback.stuck`, :mod:`~inferno_proxy.feedback.hedging`, :mod:`~inferno_proxy.feedback.claims`,
:mod:`~inferno_proxy.feedback.brownout` and :mod:`~inferno_proxy.feedback.limits`. No clock, no task:
:mod:`~inferno_proxy.feedback.loop` asks twice a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from inferno_proxy.feedback import claims, hedging, stuck, weights
from inferno_proxy.feedback.advice import FULL_WEIGHT, LEAST_WEIGHT, Advice
from inferno_proxy.feedback.audit import Audit
from inferno_proxy.feedback.brownout import BrownOuts
from inferno_proxy.feedback.claims import Seen
from inferno_proxy.feedback.latency import Level
from inferno_proxy.feedback.limits import Limits, admissions
from inferno_proxy.feedback.observed import Counts, Observation, Try
from inferno_proxy.feedback.roster import Roster
from inferno_proxy.feedback.sightings import EndpointSightings, ModelSightings
from inferno_proxy.feedback.weights import Evidence, Share
from inferno_proxy.fleet import Address, FleetView, Load
from inferno_proxy.supervisor.act import Act

# Below this many samples (fading) nothing is observed of an endpoint; from that many on, what it reports can be wrong.
_OBSERVED = 1.0
_TO_CONTRADICT = 20.0
# Another endpoint that answered within so many seconds shows that a model can be answered.
_RECENT = 2.0
_NOTHING = Level()
_NO_LOADS: Mapping[str, Load] = MappingProxyType({})


class Learner:
    """Learns from what data planes observe.

    Args:
        budget: The part of a model's calls that may be sent to a second node, 0 for none.
        max_wait: Seconds a model's calls may wait for their turn, 0 for as long as they like.
    """

    def __init__(self, budget: Callable[[str], float], max_wait: Callable[[str], float] = lambda _: 0.0) -> None:
        self._budget = budget
        self._max_wait = max_wait
        self._roster = Roster()
        self._models: dict[str, ModelSightings] = {}
        self._audit = Audit()
        self._brown_outs = BrownOuts()
        self._limits = Limits()
        self._shares: Mapping[str, Mapping[str, int]] = {}
        self._new_counts: list[Counts] = []
        self._new_tries: list[Try] = []
        self._acts: list[Act] = []

    def tries(self, tries: Iterable[Try]) -> None:
        """Take single tries in. Those at an address of no node, or of a model that no node has, are dropped."""
        for each in tries:
            self._new_tries.append(each)
            if (endpoint := self._endpoint(each.model, each.address)) is not None:
                self._models[each.model].saw(each, endpoint)

    def counts(self, counts: Iterable[Counts]) -> None:
        """Take data planes' counts in. A brown-out is known at once (see ``hopeless``)."""
        new = list(counts)
        self._new_counts += new
        for each in new:
            if (endpoint := self._endpoint(each.model, each.address)) is not None:
                self._models[each.model].counted(each, endpoint)
        if new:
            self._acts += self._brown_outs.judge(new, max(each.at for each in new))

    @property
    def hopeless(self) -> frozenset[str]:
        """The models whose calls are tried once only."""
        return self._brown_outs.models

    def advise(self, view: FleetView, now: float, loads: Mapping[str, Load] = _NO_LOADS) -> Advice:
        """What follows for the fleet as it is ``now`` (monotonic seconds). ``loads``: each node's newest report."""
        self._follow(view)
        self._acts += self._audit.heard(loads, self._seen, now)
        self._acts += self._brown_outs.judge((), now)
        held_to = admissions(self._roster.at_once, self._max_wait)
        self._acts += self._limits.judge(self._new_tries, self._new_counts, held_to, now)
        self._new_counts, self._new_tries = [], []
        shares: dict[str, Mapping[str, int]] = {}
        weighed: dict[tuple[str, str], int] = {}
        hung: dict[tuple[str, str], str] = {}
        delays: dict[str, float] = {}
        for name, model in self._models.items():
            nodes = self._roster.serving[name]
            hung |= {(name, node): why for node, why in self._stuck(name, model, now).items()}
            # In an overload each node has a queue that says nothing about it, and no room for second tries.
            overloaded = name in self._limits.limits
            shares[name] = self._shares.get(name, {}) if overloaded else self._weights(name, model, now)
            weighed |= {(name, node): weight for node, weight in shares[name].items() if node in nodes}
            after = self._hedge(name, model, nodes, now)
            if after and not overloaded:
                delays[name] = after
        self._shares = shares
        return Advice(
            weights=MappingProxyType(weighed),
            hedge_after=MappingProxyType(delays),
            stuck=MappingProxyType(hung),
            limits=self._limits.limits,
            hopeless=self.hopeless,
        )

    def observations(self, model: str, now: float) -> Mapping[str, Observation]:
        """What is known of a model's endpoints, by node_id: what advice is made of."""
        known = self._models.get(model)
        return known.observations(now) if known else {}

    def take_acts(self) -> list[Act]:
        """What was begun and ended since the last time this was asked."""
        acts, self._acts = self._acts, []
        return acts

    # ------------------------------------------------------------------------------------------------ who is who

    def _endpoint(self, model: str, address: Address) -> EndpointSightings | None:
        node = self._roster.places.get(address)
        if node is None or node not in self._roster.serving.get(model, ()):
            return None
        return self._models[model].endpoints.setdefault(node, EndpointSightings())

    def _follow(self, view: FleetView) -> None:
        """Begin anew with a node's next life, and forget what left."""
        for name, reborn in self._roster.follow(view).items():
            nodes = self._roster.serving.get(name)
            if nodes is None:
                self._models.pop(name, None)
            else:
                self._models.setdefault(name, ModelSightings()).keep(nodes - reborn)
        self._audit.follow(view)

    def _seen(self, model: str, node: str, now: float) -> Seen:
        known = self._models.get(model)
        endpoint = known.endpoints.get(node) if known else None
        if endpoint is None:
            return Seen(0, 0.0)
        level = endpoint.seconds.level(now)
        return Seen(endpoint.answered, level.mean if level.count >= _TO_CONTRADICT else 0.0)

    # -------------------------------------------------------------------------------------------------- judgement

    def _stuck(self, name: str, model: ModelSightings, now: float) -> dict[str, str]:
        """The endpoints that hold work and finish none, with the evidence."""
        limit = model.patience(now)
        answering = model.answering(since=now - max(_RECENT, limit))
        hung = {}
        for node, endpoint in model.endpoints.items():
            before, spell = endpoint.standing, endpoint.spell(now)
            if before is None and (spell.since is None or now - spell.since < limit):
                continue
            others = any(other != node for other in answering)
            after = stuck.step(before, spell, endpoint.answered_at, limit, others_answer=others, now=now)
            endpoint.standing = after
            if after is not None and after.out:
                hung[node] = after.evidence
            if before is None and after is not None:
                self._act("ENDPOINT_STUCK", node, f"Model {name} hangs on it", after.evidence, "it gets no new calls")
            elif before is not None and before.out and after is not None and not after.out:
                endpoint.share = Share(LEAST_WEIGHT)
                endpoint.level.clear()
            elif before is not None and after is None:
                lasted = now - before.since
                self._act("ENDPOINT_FREED", node, f"Model {name} hung on it", "it answers again", "it is back", lasted)
        return hung

    def _weights(self, name: str, model: ModelSightings, now: float) -> dict[str, int]:
        """The weights of endpoints that deserve less than the full one."""
        nodes = self._roster.serving[name]
        levels = model.levels(now)
        evidence = weights.compare(levels, {node: e.take_fresh() for node, e in model.endpoints.items()})
        found = {}
        for node, endpoint in model.endpoints.items():
            seen = evidence.get(node, Evidence())
            before, after = endpoint.share, weights.step(endpoint.share, seen, now) if len(nodes) > 1 else Share()
            if endpoint.standing is not None:
                # On trial: it first has to answer at all.
                after = min(after, weights.ON_TRIAL, key=lambda share: share.weight)
            if after is not before:
                endpoint.share = after
                self._report_share(name, node, before, after, seen, now)
                if seen.slow:
                    # What comes now decides whether it is still slow.
                    endpoint.level.clear()
            if (weight := weights.coarse(after.weight)) < FULL_WEIGHT:
                found[node] = weight
        unseen = [node for node in nodes if levels.get(node, _NOTHING).count < _OBSERVED and node not in found]
        if unseen and len(nodes) > 1:
            claimed = claims.shares(self._audit.believed(name, nodes, now))
            found |= {node: weights.coarse(claimed[node]) for node in unseen if node in claimed}
        return found

    def _report_share(self, name: str, node: str, before: Share, after: Share, seen: Evidence, now: float) -> None:
        if before.ratio == 1 and after.ratio > 1:
            self._act(
                "WEIGHT_REDUCED",
                node,
                f"It is slow with model {name}",
                f"{after.ratio:.1f} times as long as the best, over {seen.samples:.0f} calls of late",
                f"its share is {after.weight} of {FULL_WEIGHT}",
            )
        elif after.full and before.ratio > 1:
            evidence = f"{math.exp(max(0.0, seen.excess)):.1f} times as long as the best of late"
            lasted = now - before.since
            self._act("WEIGHT_RESTORED", node, f"It was slow with model {name}", evidence, "its share is full", lasted)

    def _hedge(self, name: str, model: ModelSightings, nodes: frozenset[str], now: float) -> float:
        """Seconds after which calls are sent to a second node as well; 0 for never."""
        budget = 0.0 if name in self._roster.streamed else self._budget(name)
        before = model.hedging
        after = hedging.step(before, model.calls(nodes, now), budget, now) if budget else hedging.Hedging()
        model.hedging = after
        if after.after and not before.after:
            lasted = now - before.changed if before.why else None
            evidence = f"99 of 100 calls are answered within {1000 * after.after:.0f} ms"
            effect = "calls that take longer go to a second node as well"
            self._act("HEDGING_OPENED", name, "Its calls may run twice and there is room", evidence, effect, lasted)
        elif before.after and after.why:
            effect = "calls go to one node"
            self._act("HEDGING_CLOSED", name, "Second tries would do harm", after.why, effect, now - before.changed)
        return after.after

    def _act(
        self, kind: str, subject: str, cause: str, evidence: str, effect: str, seconds: float | None = None
    ) -> None:
        self._acts.append(Act(kind, subject, cause, evidence, effect, seconds))
