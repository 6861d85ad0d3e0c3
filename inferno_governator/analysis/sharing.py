"""What a model's work cost, shared among those who asked for it.

A model version's work on a node in a minute is shared by the time that each caller's requests took there, as proxies
saw it; what the node counted beyond that is nobody's (team and key empty). Requests, errors and inferences are the
node's, shared by what proxies counted of each caller, so that the items of all callers add up to the item without them.
Tokens are the node's where its model counts them. Nobody's go by requests, and the others by the bytes that callers
sent (tokens read) and got (tokens written), or by the tokens that proxies saw where they saw any. Where the node counts
none, they are the proxies' own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from inferno_governator.analysis.cost import FactsChange, facts_at, sums_of
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.money import apportion


class CallerUse(NamedTuple):
    """What one caller asked of one model on one node in a minute, as proxies saw it. An empty version is any."""

    minute: int
    node: str
    model: str
    version: str
    team: str
    key: str
    requests: int
    client_errors: int
    server_errors: int
    request_micros: int
    input_tokens: int
    output_tokens: int
    request_bytes: int = 0
    response_bytes: int = 0

    @property
    def errors(self) -> int:
        """Requests that a node may have counted as failed."""
        return self.client_errors + self.server_errors


Place = tuple[int, str, str]


def shared(
    items: Sequence[Item], callers: Iterable[CallerUse], history: Mapping[str, Sequence[FactsChange]]
) -> list[Item]:
    """Items of minutes, with each item of work as one for each of its callers.

    Args:
        items: Items one minute long.
        callers: Who asked in these minutes.
        history: What nodes said of themselves, oldest first: for what was asked where no node measured work.
    """
    asked: dict[Place, list[CallerUse]] = {}
    for use in callers:
        asked.setdefault((use.minute, use.node, use.model), []).append(use)
    work: dict[Place, list[Item]] = {}
    for item in items:
        place = (item.start_minute, item.node, item.model)
        if item.purpose is Purpose.WORK and place in asked:
            work.setdefault(place, []).append(item)
    made = [item for item in items if (item.start_minute, item.node, item.model) not in work]
    for place, uses in asked.items():
        made += _shared_at(work.get(place, []), uses, history)
    return made


def claimed(unclaimed: Sequence[Item], callers: Iterable[CallerUse]) -> list[Item]:
    """What is to be added to nobody's work, and to nothing else, so that callers have their part of it.

    Args:
        unclaimed: Nobody's work.
        callers: Who asked, with the items' first minute as theirs.

    Returns:
        Items that add up to nothing but for tokens that no node counts: one of nobody's for each that changes, with
        what it loses, and those of the callers.
    """
    parts: dict[int, list[CallerUse]] = {}
    for use in callers:
        at = {
            number: item
            for number, item in enumerate(unclaimed)
            if (item.start_minute, item.node, item.model) == (use.minute, use.node, use.model)
            and use.version in ("", item.version)
        }
        if at:
            for number, part in zip(at, _by_version(use, [*at.values()]), strict=True):
                parts.setdefault(number, []).append(part)
    changes: list[Item] = []
    for number, uses in parts.items():
        item = unclaimed[number]
        theirs = [each for each in _among(item, uses) if each.team or each.key]
        if theirs:
            taken = map(sum, zip(*map(sums_of, theirs), strict=True))
            # Tokens that no node counts are taken from nobody.
            lost = (-min(whole, part) for whole, part in zip(sums_of(item), taken, strict=True))
            changes += [Item._make((*item[:9], *lost)), *theirs]
    return changes


def _shared_at(
    work: Sequence[Item], uses: Sequence[CallerUse], history: Mapping[str, Sequence[FactsChange]]
) -> list[Item]:
    """The items of the versions of one model on one node in one minute."""
    by_version: dict[str, list[CallerUse]] = {item.version: [] for item in work}
    unmeasured: list[Item] = []
    for use in uses:
        if use.version in by_version:
            by_version[use.version].append(use)
        elif work and not use.version:
            for item, part in zip(work, _by_version(use, work), strict=True):
                by_version[item.version].append(part)
        else:
            facts = facts_at(history.get(use.node, ()), use.minute)
            bare = Item(use.minute, 1, use.node, facts, Purpose.WORK, use.model, use.version, use.team, use.key, 0, 0)
            unmeasured.append(bare._replace(input_tokens=use.input_tokens, output_tokens=use.output_tokens))
    return [part for item in work for part in _among(item, by_version[item.version])] + [
        item for item in unmeasured if item.input_tokens or item.output_tokens
    ]


def _by_version(use: CallerUse, work: Sequence[Item]) -> list[CallerUse]:
    """What was asked of any version, as so much of each: every count by the versions' own, and by the time that their
    requests took where they have none."""
    times = [item.request_micros for item in work]
    requests = [item.requests for item in work]
    errors = [item.errors for item in work]
    measures = (
        requests,
        errors,
        errors,
        times,
        [item.input_tokens for item in work],
        [item.output_tokens for item in work],
        requests,
        requests,
    )
    split = (apportion(count, own if any(own) else times) for count, own in zip(use[6:], measures, strict=True))
    return [CallerUse._make((*use[:6], *part)) for part in zip(*split, strict=True)]


def _among(item: Item, uses: Sequence[CallerUse]) -> list[Item]:
    """One item of work as one for each caller, the first for nobody; those of which nothing is to be told are left
    out."""
    if not uses:
        return [item]
    requests = _weights(item.requests, [use.requests for use in uses])
    errors = _weights(item.errors, [use.errors for use in uses])
    seen = [use.request_micros for use in uses]
    times = _weights(item.request_micros, seen) if item.request_micros or any(seen) else requests
    costs = apportion(item.cost_micros, times)
    columns = zip(
        apportion(item.paid_micros, times),
        costs,
        apportion(item.requests, requests),
        apportion(item.errors, errors),
        apportion(item.inferences, requests),
        _tokens(item.input_tokens, [use.input_tokens for use in uses], requests, [use.request_bytes for use in uses]),
        _tokens(
            item.output_tokens, [use.output_tokens for use in uses], requests, [use.response_bytes for use in uses]
        ),
        apportion(item.request_micros, times),
        apportion(item.queue_micros, times),
        apportion(item.compute_micros, times),
        apportion(item.committed_micros, costs),
        strict=True,
    )
    callers = (("", ""), *((use.team, use.key) for use in uses))
    return [
        Item(*item[:7], team, key, *counts)
        for (team, key), counts in zip(callers, columns, strict=True)
        if any(counts) or (not team and not key and not any(item[9:]))
    ]


def _tokens(counted: int, seen: list[int], requests: list[int], sizes: list[int]) -> list[int]:
    """Tokens of nobody and of each caller.

    Args:
        counted: Those that the node counted.
        seen: Those that proxies saw of each caller.
        requests: Weights of nobody and of each caller.
        sizes: Bytes of each caller; all zero where unknown, and then requests take their place.
    """
    if not counted:
        return [0, *seen]
    if any(seen):
        return apportion(counted, _weights(counted, seen))
    unseen, theirs = apportion(counted, [requests[0], sum(requests[1:])])
    return [unseen, *apportion(theirs, sizes if any(sizes) else requests[1:])]


def _weights(whole: int, seen: list[int]) -> list[int]:
    """What nobody asked, as far as anybody saw, and what each caller did; nobody gets all when nothing is known."""
    rest = max(0, whole - sum(seen))
    return [rest, *seen] if rest or any(seen) else [1, *seen]
