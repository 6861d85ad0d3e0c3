"""The nodes of a replay: started, booted, drained, stopped, taken by their cloud, and billed by whole seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from inferno_governator.decisions.fleet import NodeState
from inferno_governator.decisions.proposal import Proposal, Verb
from inferno_governator.simulation.curves import Curve
from inferno_governator.simulation.outages import Outage

# A cloud bills a machine's first minute whole, and by the second from then on.
LEAST_SECONDS = 60
# After a cloud had no machine, a pool is not asked again for as long.
RETRY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes of one kind that a hypothetical fleet can have.

    Attributes:
        name: Unique in its fleet.
        curve: What one node does with a batch.
        micros_per_hour: What one node costs, in micro-dollars.
        boot_seconds: From the start of one to its first request.
        begin: Nodes that serve when the trace begins.
        minimum: Nodes that policies must leave.
        maximum: Nodes there may be.
        spot: An outage of its zone takes its nodes.
        zone: Region, or region and zone.
        network_seconds: Round trip between the callers and its region.
    """

    name: str
    curve: Curve
    micros_per_hour: int
    boot_seconds: float = 600.0
    begin: int = 0
    minimum: int = 0
    maximum: int = 1000
    spot: bool = False
    zone: str = ""
    network_seconds: float = 0.0


@dataclass(slots=True)
class Member:
    """One node of a replay, from the call that starts it to the end of its bill; times are seconds of the trace."""

    name: str
    pool: int
    asked_at: float
    ready_at: float
    state: NodeState
    since: float
    notice_at: float | None = None
    ended_at: float | None = None


@dataclass(slots=True)
class Happenings:
    """What came of a moment: nodes that serve from now on, that get nothing more, and that are gone with their work."""

    serving: list[Member] = field(default_factory=list)
    draining: list[Member] = field(default_factory=list)
    lost: list[Member] = field(default_factory=list)


class Fleet:
    """Nodes over time. It knows neither requests nor policies; ``advance`` and ``act`` say what they mean for those."""

    def __init__(self, pools: Sequence[Pool], outages: Sequence[Outage] = (), notice_seconds: float = 120.0) -> None:
        self.pools = tuple(pools)
        self.present: dict[str, Member] = {}
        self.gone: list[Member] = []
        self.counted: Counter[str] = Counter()
        self._places = {pool.name: place for place, pool in enumerate(pools)}
        self._exhausted = [0.0] * len(pools)
        spot_zones = {pool.zone for pool in pools if pool.spot}
        relevant = [each for each in outages if each.zone in spot_zones]
        self._notices = sorted((max(0.0, each.begin - notice_seconds), each.zone, each.begin) for each in relevant)
        self._outages = sorted(relevant)
        self._noticed = self._struck = 0
        for place, pool in enumerate(self.pools):
            for _ in range(pool.begin):
                self._add(place, 0.0, NodeState.SERVING, 0.0)

    def _add(self, place: int, at: float, state: NodeState, ready_at: float) -> Member:
        self.counted["nodes"] += 1
        name = f"{self.pools[place].name}-{self.counted['nodes']:05}"
        self.present[name] = Member(name, place, at, ready_at, state, at)
        return self.present[name]

    def next_event(self) -> float:
        """When the next node is ready, is told of its end, or is taken; infinity when nothing is coming."""
        moments = [each.ready_at for each in self.present.values() if each.state is NodeState.STARTING]
        if self._noticed < len(self._notices):
            moments.append(self._notices[self._noticed][0])
        if self._struck < len(self._outages):
            moments.append(self._outages[self._struck].begin)
        return min(moments, default=float("inf"))

    def advance(self, at: float) -> Happenings:
        """All that happens by itself up to a moment."""
        came = Happenings()
        while self._noticed < len(self._notices) and self._notices[self._noticed][0] <= at:
            _, zone, begin = self._notices[self._noticed]
            self._noticed += 1
            for member in self._spot_in(zone):
                member.notice_at = begin
        while self._struck < len(self._outages) and self._outages[self._struck].begin <= at:
            zone = self._outages[self._struck].zone
            self._struck += 1
            for member in self._spot_in(zone):
                self.counted["losses"] += 1
                if member.state is not NodeState.STARTING:
                    came.lost.append(member)
                self.end(member, at)
        for member in self.present.values():
            if member.state is NodeState.STARTING and member.ready_at <= at:
                member.state, member.since = NodeState.SERVING, at
                came.serving.append(member)
        return came

    def _spot_in(self, zone: str) -> list[Member]:
        return [
            each for each in self.present.values() if self.pools[each.pool].spot and self.pools[each.pool].zone == zone
        ]

    def act(self, proposals: Sequence[Proposal], at: float) -> Happenings:
        """Do what was proposed, as far as a pool's bounds and its cloud allow; the rest is counted as refused."""
        came = Happenings()
        for proposal in proposals:
            if proposal.verb is Verb.START:
                self._start(proposal, at)
            else:
                self._stop(proposal, at, came)
        return came

    def _start(self, proposal: Proposal, at: float) -> None:
        place = self._places.get(proposal.pool)
        if place is None or self.size(place) >= self.pools[place].maximum:
            self.counted["refused_actions"] += 1
        elif self.without_machines(place, at):
            self.counted["refused_actions"] += 1
            self._exhausted[place] = at + RETRY_SECONDS
        else:
            self.counted["starts"] += 1
            self._add(place, at, NodeState.STARTING, at + self.pools[place].boot_seconds)

    def _stop(self, proposal: Proposal, at: float, came: Happenings) -> None:
        member = self.present.get(proposal.node)
        if member is None or member.state is NodeState.DRAINING:
            self.counted["refused_actions"] += 1
            return
        self.counted["stops"] += 1
        if member.state is NodeState.STARTING:
            self.end(member, at)
            return
        member.state, member.since = NodeState.DRAINING, at
        came.draining.append(member)

    def end(self, member: Member, at: float) -> None:
        """Its bill ends; it is there no longer."""
        member.ended_at = at
        self.gone.append(self.present.pop(member.name))

    def size(self, place: int) -> int:
        """Nodes of a pool that serve or will."""
        return sum(each.pool == place and each.state is not NodeState.DRAINING for each in self.present.values())

    def without_machines(self, place: int, at: float) -> bool:
        """An outage keeps a pool's cloud from giving machines now."""
        pool = self.pools[place]
        return pool.spot and any(each.zone == pool.zone and each.begin <= at < each.end for each in self._outages)

    def most(self, place: int, at: float) -> int:
        """Nodes a pool may have as far as is known: what it has, for a while after its cloud had none to give."""
        return self.size(place) if at < self._exhausted[place] else self.pools[place].maximum

    def members(self) -> Iterator[Member]:
        """All that ever were, in the order in which they came."""
        yield from sorted([*self.gone, *self.present.values()], key=lambda each: each.name.rsplit("-", 1)[1])

    def cost_micros(self, member: Member, end: float) -> int:
        """What one node cost up to a time, in micro-dollars: whole seconds begun, and a minute at least."""
        until = member.ended_at if member.ended_at is not None else end
        seconds = max(LEAST_SECONDS, -int(-(until - member.asked_at) // 1))
        return -(-seconds * self.pools[member.pool].micros_per_hour // 3600)
