"""What each use of each node cost, minute by minute.

A node is billed in each minute for as long as it was measured (the longest time that any of its series covers, at most
the minute) and for as long as it lived unmeasured. Of that time, overhead is what no model version was there to serve
in. The rest is shared: models take their part by the time they computed, and what is left is idleness. Where requests
overlap and the models computed longer than they were there, they share it all and nothing is idle. The price of a
minute is the one in force when it began or, for a node's first minute, the one it came with; before that the price is
unknown and the cost zero.

Each minute is billed in whole micro-dollars (:func:`inferno_governator.money.metered`), so that the items add up to
the bill, and the bills of two adjoining periods to the bill of both, exactly.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import NamedTuple, cast

from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.money import apportion, metered
from inferno_governator.usage import Facts

MINUTE_MICROS = 60_000_000
UNKNOWN = Facts(price=0)
# Where the fields of an item that add up begin.
_SUMS = Item._fields.index("paid_micros")


class ModelUse(NamedTuple):
    """A model version on a node in a minute."""

    minute: int
    node: str
    model: str
    version: str
    window_micros: int
    requests: int
    errors: int
    inferences: int
    request_micros: int
    queue_micros: int
    compute_micros: int
    input_tokens: int = 0
    output_tokens: int = 0


class DeviceUse(NamedTuple):
    """A device of a node in a minute."""

    minute: int
    node: str
    window_micros: int
    busy_micros: int
    # The part of the window of which it is known how busy the device was.
    known_micros: int


class Gap(NamedTuple):
    """How long a node lived unmeasured in a minute."""

    minute: int
    node: str
    micros: int


class FactsChange(NamedTuple):
    """Price and nature of a node, from a minute on."""

    minute: int
    facts: Facts


NodeMinute = tuple[int, str]


def minute_items(
    history: Mapping[str, Sequence[FactsChange]],
    models: Iterable[ModelUse],
    devices: Iterable[DeviceUse],
    gaps: Iterable[Gap] = (),
) -> list[Item]:
    """The items of whole minutes, one minute long each, by minute and node.

    Args:
        history: What nodes said of themselves, oldest first.
        models: All that is known of these minutes, as the next two.
        devices: How devices were used.
        gaps: Where nodes lived unmeasured.
    """
    work: dict[NodeMinute, list[ModelUse]] = {}
    measured: dict[NodeMinute, int] = {}
    for use in models:
        work.setdefault(use[:2], []).append(use)
    for minute, node, window, *_ in devices:
        measured[minute, node] = max(measured.get((minute, node), 0), window)
    unmeasured: dict[NodeMinute, int] = {}
    for minute, node, micros in gaps:
        unmeasured[minute, node] = unmeasured.get((minute, node), 0) + micros
    items: list[Item] = []
    for at in sorted(work.keys() | measured.keys() | unmeasured.keys()):
        minute, node = at
        facts = facts_at(history.get(node, ()), minute)
        items += _items_of(at, facts, work.get(at, ()), measured.get(at, 0), unmeasured.get(at, 0))
    return items


def _items_of(at: NodeMinute, facts: Facts, work: Sequence[ModelUse], measured: int, unmeasured: int) -> list[Item]:
    """The items of one node in one minute."""
    minute, node = at
    served = min(MINUTE_MICROS, max((use.window_micros for use in work), default=0))
    paid = min(MINUTE_MICROS, max(served, measured) + unmeasured)
    cost = metered(facts.price, minute * MINUTE_MICROS, paid)
    cost_serving, cost_overhead = apportion(cost, (served, paid - served))
    computed = [use.compute_micros for use in work]
    shares = (*computed, max(0, served - sum(computed)))
    *paid_by, paid_idle = apportion(served, shares)
    *cost_by, cost_idle = apportion(cost_serving, shares)
    items = [
        Item(
            start_minute=minute,
            minutes=1,
            node=node,
            facts=facts,
            purpose=Purpose.WORK,
            model=use.model,
            version=use.version,
            team="",
            key="",
            paid_micros=paid_micros,
            cost_micros=cost_micros,
            requests=use.requests,
            errors=use.errors,
            inferences=use.inferences,
            input_tokens=use.input_tokens,
            output_tokens=use.output_tokens,
            request_micros=use.request_micros,
            queue_micros=use.queue_micros,
            compute_micros=use.compute_micros,
        )
        for use, paid_micros, cost_micros in zip(work, paid_by, cost_by, strict=True)
    ]
    if paid_idle or cost_idle:
        items.append(Item(minute, 1, node, facts, Purpose.IDLE, "", "", "", "", paid_idle, cost_idle))
    if paid > served:
        items.append(Item(minute, 1, node, facts, Purpose.OVERHEAD, "", "", "", "", paid - served, cost_overhead))
    if facts.committed:
        used = min(cost, metered(facts.committed, minute * MINUTE_MICROS, paid))
        parts = apportion(used, [item.cost_micros for item in items])
        return [item._replace(committed_micros=part) for item, part in zip(items, parts, strict=True)]
    return items


def sums_of(item: Item) -> tuple[int, ...]:
    """The fields of an item that add up, from ``paid_micros`` on."""
    return cast("tuple[int, ...]", item[_SUMS:])


def rolled_up(items: Iterable[Item], minutes: int) -> list[Item]:
    """Items added up to stretches of so many minutes, in the order they come.

    Args:
        items: Items that each lie within one stretch.
        minutes: Length of a stretch; the first begins with Unix time.
    """
    sums: dict[tuple[object, ...], list[int]] = {}
    for item in items:
        start = item.start_minute - item.start_minute % minutes
        key = (start, minutes, *item[2:_SUMS])
        found = sums.get(key)
        counts = sums_of(item)
        sums[key] = [*map(add, found, counts)] if found else [*counts]
    return [Item._make((*key, *counts)) for key, counts in sums.items()]


def cut(item: Item, start_minute: int, end_minute: int) -> Item | None:
    """The part of an item from one minute until before another, None without one: its sums spread evenly over its
    length, in whole numbers, so that adjoining parts add up to it."""
    first = max(0, start_minute - item.start_minute)
    last = min(item.minutes, end_minute - item.start_minute)
    if first >= last:
        return None
    counts = (count * last // item.minutes - count * first // item.minutes for count in sums_of(item))
    return Item._make((item.start_minute + first, last - first, *item[2:_SUMS], *counts))


def facts_at(history: Sequence[FactsChange], minute: int) -> Facts:
    """What held of a node in a minute, by a history with the oldest change first; unknown before the first."""
    at = bisect.bisect_right(history, minute, key=lambda change: change.minute)
    return history[at - 1].facts if at else UNKNOWN
