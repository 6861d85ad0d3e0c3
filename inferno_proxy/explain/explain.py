"""An explanation of one thing: where the next call of a model goes, what a node gets, what became of a call. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inferno_proxy.explain.candidates import Candidate, Scene, candidates, having
from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.orders.order import Kind
from inferno_proxy.routing.plan import ModelRoute
from inferno_proxy.routing.traffic import Balance, Rate

_BALANCE = {
    Balance.LEAST_REQUEST: "to the one of two drawn by lot that has fewer calls under way, or by weight over the calls "
    "under way where weights differ",
    Balance.ROUND_ROBIN: "to one after the other, by weight",
    Balance.RANDOM: "by lot, by weight",
    Balance.RING_HASH: "to the node that owns the call's key on a hash ring",
    Balance.MAGLEV: "to the node that owns the call's key in a table",
}

_ENDS = {
    Outcome.ANSWERED: "was answered",
    Outcome.REFUSED: "was refused",
    Outcome.RESET: "was reset",
    Outcome.CANCELLED: "was cancelled",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is explained in a sentence or two, what holds for every call of the model, and the figures: candidates of a
    model or of a node, those that get the most calls first, or the tries of a call."""

    summary: str
    rules: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    tries: tuple[Try, ...] = ()
    model: str = ""


def explain_model(name: str, scene: Scene) -> Explanation:
    """Where the next call of a model goes; ``name`` may be an alias. A model that nobody has gets no candidates."""
    alias = scene.plan.aliases.get(name)
    model = alias.model if alias else name
    meant = f"{name!r} is an alias of {alias}. " if alias else ""
    route = scene.plan.models.get(model)
    owners = having(scene.view).get(model, ())
    found = _first(candidates(model, owners, scene))
    return Explanation(
        meant + _where(model, route, found), tuple(_rules(route, scene)) if route else (), found, model=model
    )


def explain_node(node_id: str, scene: Scene) -> Explanation:
    """What a node gets of each of its models; it is one of the view."""
    member = scene.view.members[node_id]
    owned = having(scene.view)
    found = [
        each
        for model in member.node.models
        for each in candidates(model.name, owned[model.name], scene)
        if each.member is member
    ]
    gets = sum(each.share > 0 for each in found)
    reason = f" ({member.reason})" if member.reason else ""
    summary = f"Node {node_id!r} is {member.phase.value}{reason} and gets calls of {gets} of its {len(found)} models."
    orders = [order for key, order in scene.book.items() if key[0].of_node and key[1] == node_id]
    return Explanation(summary, tuple(f"{order.sentence()}." for order in orders), _first(found))


def explain_call(request_id: str, tries: Sequence[Try]) -> Explanation:
    """What became of a call that was kept: at least one of its tries."""
    last = tries[-1]
    count = f"{len(tries)} tries of it were" if len(tries) > 1 else "one try of it was"
    missing = last.attempt - len({each.attempt for each in tries})
    lost = f"; {missing} earlier ones were not" if missing > 0 else ""
    summary = (
        f"Call {request_id!r} of model {last.model!r}: {count} kept{lost}. The last one {_ended(last)} "
        f"after {1000 * last.seconds:.0f} ms."
    )
    return Explanation(summary, tries=tuple(tries), model=last.model)


def _first(found: Sequence[Candidate]) -> tuple[Candidate, ...]:
    return tuple(sorted(found, key=lambda each: (-each.share, each.model, each.member.node.node_id)))


def _ended(seen: Try) -> str:
    return f"{_ENDS.get(seen.outcome, seen.outcome.value)}{f' ({seen.status})' if seen.status else ''}"


def _where(model: str, route: ModelRoute | None, found: Sequence[Candidate]) -> str:
    taking = [each for each in found if each.share > 0]
    if not found:
        return f"No node has the model {model!r}."
    if route is None or not taking:
        return f"None of {len(found)} nodes takes calls of {model!r} now: they are answered UNAVAILABLE."
    how = "to the node that owns the call's sequence" if route.stateful else _BALANCE[route.traffic.balance]
    best = taking[0]
    chance = f"; {best.member.node.node_id!r} is expected to get {best.share:.0%}" if len(taking) > 1 else ""
    return f"{len(taking)} of {len(found)} nodes take calls of {model!r}: each goes {how}{chance}."


def _rules(route: ModelRoute, scene: Scene) -> Iterator[str]:
    traffic, name = route.traffic, route.name
    yield from _ordered(route, scene)
    if name in scene.held:
        yield f"A data plane refused its configuration: {scene.held[name].step.effect}."
    if traffic.split is not None:
        groups = ", ".join(f"{group} {weight}" for group, weight in traffic.split.weights)
        by = scene.book.get((Kind.SPLIT, name))
        said = f" ({by.sentence()})" if by else ""
        yield f"Its calls are split by {traffic.split.by.removeprefix('@')}: {groups}{said}."
    if traffic.rate is not None:
        yield f"It may be called {_rate(traffic.rate)}."
    if traffic.max_concurrency:
        yield f"At most {traffic.max_concurrency} of its calls are under way in each data plane."
    if route.limit:
        yield f"It has more work than it can do in time: at most {route.limit} calls are under way in each data plane."
    if route.hopeless:
        yield "All of its nodes fail: a call that fails is not tried again."
    elif not route.repeatable:
        yield "A call that may have begun is not tried again."
    else:
        yield f"A call that fails is tried up to {traffic.retries} more times, elsewhere."
    if route.hedge_after:
        yield f"A call without an answer after {1000 * route.hedge_after:.0f} ms goes to a second node as well."
    if route.quarantined:
        yield f"{len(route.quarantined)} requests that end nodes are refused by their fingerprints."


def _ordered(route: ModelRoute, scene: Scene) -> Iterator[str]:
    for key, order in scene.book.items():
        if key[1] == route.name and not key[0].of_node and key[0] is not Kind.SPLIT:
            yield f"{order.sentence()}."
    for cap in route.caps:
        yield f"{cap.sentence[0].upper()}{cap.sentence[1:]}."


def _rate(rate: Rate) -> str:
    each = rate.header or rate.per.value
    return f"{rate.calls} times in {rate.seconds:g} s by each {each}, counted per {rate.scope.value}"
