"""Which request kills the nodes that run it: judged from the tries that broke when nodes died.

A request is known by its model and its fingerprint, which the call filter makes of its content. Bystanders are under
way when a node dies, and some of them again when the next one does, for a broken call is tried again elsewhere. But
they are answered sooner or later, and the culprit never is; and it was there at each death that it caused. So the
culprit is the fingerprint that broke at most deaths, at least at those of two nodes, and was not answered.

A model that has processes of its own may die alone. Its node tells so, and the server answers for it with an error: a
try of that model that failed then has broken as well. Three such deaths are enough, wherever they were.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.fleet import Address, FleetView, Node, Phase, changed
from inferno_proxy.supervisor.act import Act

# Seconds within which a node's death and the end of a try there are one event: the log of tries comes in batches, and
# an agent tells of its server's end within a tenth of a second.
_TOGETHER = 3.0
# Seconds for which a death, and an answer that clears a request, are remembered.
_MEMORY = 600.0
# Seconds for which a request is refused. Then it may show that it is harmless now; one more death under it is enough.
_REFUSED_FOR = 600.0
# Requests that fit equally well: of more than so many nobody can tell which it is, and the next death will.
_MOST = 4
# Fingerprints remembered, the oldest forgotten first.
_KEPT = 4096

# How a try ends under which something died: with its connection, or with its model alone.
_BROKEN = frozenset({Outcome.RESET, Outcome.FAILED})

# A model and a fingerprint, which is empty for calls that nobody named.
Request = tuple[str, str]


@dataclass(frozen=True, slots=True, order=True)
class _Death:
    """The end of a node's work, or, with ``model``, of a process of that model there, in monotonic seconds."""

    at: float
    node: str
    model: str = ""

    def under(self, model: str, broken: Iterable[_Broken]) -> bool:
        """True when one of these tries of a model broke with it."""
        return self.model in ("", model) and any(
            each.node == self.node and abs(each.at - self.at) <= _TOGETHER and (bool(self.model) or not each.answered)
            for each in broken
        )

    def __str__(self) -> str:
        return f"a process of {self.model} on {self.node}" if self.model else self.node


@dataclass(frozen=True, slots=True)
class _Broken:
    """A try that broke; ``answered``: with an error of the server's."""

    node: str
    at: float
    answered: bool


@dataclass(slots=True)
class _Suspect:
    """A request of which tries broke. ``needed`` is the number of nodes that have to die under it."""

    broken: list[_Broken] = field(default_factory=list)
    deaths: set[_Death] = field(default_factory=set)
    needed: int = 2
    refused_at: float | None = None

    @property
    def nodes(self) -> set[str]:
        return {death.node for death in self.deaths}


class Culprits:
    """Joins broken tries with the deaths of nodes. ``watched`` are models that calls without a fingerprint hurt."""

    def __init__(self) -> None:
        self.watched: frozenset[str] = frozenset()
        self._view = FleetView()
        self._places: dict[Address, str] = {}
        self._working: set[str] = set()
        self._deaths: list[_Death] = []
        self._suspects: dict[Request, _Suspect] = {}
        self._answered: dict[Request, float] = {}
        self._acts: list[Act] = []

    def tries(self, tries: Iterable[Try]) -> None:
        """Take single tries in."""
        for each in tries:
            request = (each.model, each.fingerprint)
            if each.fingerprint and not (each.fingerprint.isascii() and each.fingerprint.isalnum()):
                continue  # not the call filter's: an Envoy of another machine may say anything
            if each.outcome is Outcome.ANSWERED and each.fingerprint:
                self._answered.pop(request, None)
                self._answered[request] = each.at
                _bound(self._answered)
            elif each.outcome in _BROKEN and (node := self._places.get(each.address)) is not None:
                broken = _Broken(node, each.at, answered=each.outcome is Outcome.FAILED)
                self._suspects.setdefault(request, _Suspect()).broken.append(broken)
                _bound(self._suspects)

    def judge(self, view: FleetView, now: float) -> Mapping[str, frozenset[str]]:
        """The fingerprints to refuse as of ``now`` (monotonic seconds), by model."""
        self._follow(view, now)
        self._join(now)
        self._convict(now)
        self._watch()
        refused: dict[str, set[str]] = {}
        for (model, fingerprint), suspect in self._suspects.items():
            if suspect.refused_at is not None:
                refused.setdefault(model, set()).add(fingerprint)
        return MappingProxyType({model: frozenset(refused[model]) for model in sorted(refused)})

    def take_acts(self) -> list[Act]:
        """What was begun and ended since the last time this was asked."""
        acts, self._acts = self._acts, []
        return acts

    def _follow(self, view: FleetView, now: float) -> None:
        """Learn where nodes are and which of them died."""
        self._deaths = [death for death in self._deaths if now - death.at <= _TOGETHER]
        before, news = self._view.members, sorted(changed(self._view, view))
        self._view, members = view, view.members
        self._deaths += (
            _Death(now, name)
            for name in news
            if name in self._working and name in members and members[name].phase is Phase.FAILED
        )
        self._deaths += (
            _Death(now, name, model)
            for name in news
            if name in before and name in members
            for model in _bereft(before[name].node, members[name].node)
        )
        for name in news:
            self._working.discard(name)
            for address in before[name].node.addresses if name in before else ():
                if self._places.get(address) == name:
                    del self._places[address]
        for name in news:
            if name in members:
                self._places |= dict.fromkeys(members[name].node.addresses, name)
                if members[name].takes_work:
                    self._working.add(name)

    def _join(self, now: float) -> None:
        for request, suspect in list(self._suspects.items()):
            suspect.broken = [each for each in suspect.broken if now - each.at <= 2 * _TOGETHER]
            suspect.deaths = {death for death in suspect.deaths if now - death.at <= _MEMORY}
            suspect.deaths |= {death for death in self._deaths if death.under(request[0], suspect.broken)}
            if suspect.refused_at is not None and now - suspect.refused_at > _REFUSED_FOR:
                self._release(request, suspect)
            if not suspect.broken and not suspect.deaths and suspect.needed > 1:
                del self._suspects[request]

    def _convict(self, now: float) -> None:
        """Refuse the requests that fit best, unless they are too many to tell. What a refused request explains
        accuses nobody else."""
        suspects = self._suspects.values()
        explained = set[_Death]().union(*(each.deaths for each in suspects if each.refused_at is not None))
        fitting: dict[Request, list[_Death]] = {}
        for request, suspect in self._suspects.items():
            deaths = sorted(suspect.deaths - explained)
            answered = now - self._answered.get(request, -math.inf) < _MEMORY
            # A process is back within seconds, where the next try may go as well.
            thrice = sum(bool(death.model) for death in deaths) > suspect.needed
            if request[1] and not answered and (thrice or len({death.node for death in deaths}) >= suspect.needed):
                fitting[request] = deaths
        most = max(map(len, fitting.values()), default=0)
        best = {request: deaths for request, deaths in fitting.items() if len(deaths) == most}
        if len(best) <= _MOST:
            for request, deaths in best.items():
                self._refuse(request, deaths, now)

    def _refuse(self, request: Request, deaths: Sequence[_Death], now: float) -> None:
        suspect, (model, fingerprint) = self._suspects[request], request
        suspect.refused_at = now
        suspect.needed = 1
        nodes = ", ".join(sorted({str(death) for death in deaths}))
        seconds = deaths[-1].at - deaths[0].at
        self._acts.append(
            Act(
                "REQUEST_QUARANTINED",
                model,
                cause=f"A request of {model} kills the nodes that run it",
                evidence=f"request {fingerprint} broke when {nodes} died within {seconds:.1f} s, and was not answered",
                effect=f"it is refused for {_REFUSED_FOR:.0f} s",
            )
        )

    def _release(self, request: Request, suspect: _Suspect) -> None:
        suspect.refused_at = None
        suspect.deaths = set()
        self._acts.append(
            Act(
                "REQUEST_RELEASED",
                request[0],
                cause=f"Request {request[1]} of {request[0]} has been refused for long",
                evidence="what it did to nodes may be mended",
                effect="it is tried once more; one more death under it has it refused again",
                seconds=_REFUSED_FOR,
            )
        )

    def _watch(self) -> None:
        watched = frozenset(
            model
            for (model, fingerprint), suspect in self._suspects.items()
            if not fingerprint and len(suspect.nodes) > 1
        )
        for model in sorted(watched - self.watched):
            nodes = ", ".join(sorted(self._suspects[model, ""].nodes))
            self._acts.append(
                Act(
                    "CALLS_WATCHED",
                    model,
                    cause=f"Nodes died under calls of {model} that nobody can tell apart",
                    evidence=f"calls without a fingerprint broke when {nodes} died",
                    effect="calls that name the model in a header, and REST calls, are fingerprinted as well",
                )
            )
        self.watched = watched


def _bereft(before: Node, now: Node) -> list[str]:
    """The models of which a process has ended since, in the same life of the node."""
    if before.incarnation != now.incarnation:
        return []
    had = {model.name: model.lost_processes for model in before.models}
    return [model.name for model in now.models if model.lost_processes > had.get(model.name, model.lost_processes)]


def _bound(kept: dict[Request, float] | dict[Request, _Suspect]) -> None:
    if len(kept) > _KEPT:
        del kept[next(iter(kept))]
