"""What is said of prices: nodes without one, nodes whose price moved, and prices that somebody should look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inferno_governator.alerts.alert import Finding, Kind, Severity
from inferno_governator.analysis.items import Item
from inferno_governator.money import dollars
from inferno_governator.prices.flags import Flag
from inferno_governator.prices.rules import State

# Minutes for which a price that moved is news.
_PRICE_NEWS = 60
# Nodes that a sentence names.
_NAMED = 3


def unpriced(items: Iterable[Item]) -> list[Finding]:
    """One finding for all nodes without a price, if there are any."""
    names = sorted({item.node for item in items if item.facts.price <= 0})
    if not names:
        return []
    return [
        Finding(
            Kind.UNPRICED,
            "nodes",
            Severity.WARNING,
            f"{_nodes(names, 'have', 'has')} no price, so the bill is too low: {_some(names)}.",
            "inferno backend --price-per-hour DOLLARS",
            {"nodes": str(len(names))},
        )
    ]


class PriceWatch:
    """What an hour of each kind of node costs, and what moved since the stretch before."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str, bool], int] = {}
        self._moved: dict[tuple[str, str, str, bool], tuple[int, int, int]] = {}

    def see(self, minute: int, items: Iterable[Item]) -> None:
        """Take the prices of a stretch; where nodes of a kind differ, the highest."""
        now: dict[tuple[str, str, str, bool], int] = {}
        for item in items:
            facts = item.facts
            if facts.price > 0:
                kind = (facts.instance_type or facts.device, facts.device, facts.region, facts.spot)
                now[kind] = max(now.get(kind, 0), facts.price)
        for kind, price in now.items():
            before = self._known.get(kind)
            if before is not None and before != price:
                self._moved[kind] = (minute, before, price)
        self._known |= now
        self._moved = {kind: moved for kind, moved in self._moved.items() if minute - moved[0] < _PRICE_NEWS}

    def findings(self) -> list[Finding]:
        """The prices that moved by a twentieth or more within the last hour."""
        found = []
        for (name, _, region, spot), (_, before, after) in self._moved.items():
            if abs(after - before) * 20 < before:
                continue
            jump = abs(after - before) * 10 > 3 * before
            where = f" in {region}" if region else ""
            found.append(
                Finding(
                    Kind.PRICE,
                    f"{name or 'nodes'}{where}{' spot' if spot else ''}",
                    Severity.WARNING if jump else Severity.INFO,
                    f"An hour of {name or 'a node'}{where}{' (spot)' if spot else ''} costs {dollars(after)} instead "
                    f"of {dollars(before)} ({(after - before) / before:+.0%}).",
                    "inferno cost --since 1h",
                    {"before": dollars(before), "after": dollars(after)},
                )
            )
        return found


def flagged(flags: Iterable[Flag]) -> list[Finding]:
    """A finding for each price that nodes have and that is too old, and for each that waits beside one."""
    return [_flagged(each) for each in flags]


def _flagged(flag: Flag) -> Finding:
    quote, waits = flag.quote, flag.verdict.state is State.JUMPED
    key = quote.offer.key
    price = f"{dollars(quote.micros)} an hour as of {quote.as_of} by {quote.source}"
    said = f"A price of {price} waits for {key}" if waits else f"The price of {key} is {price}"
    next_step = f"inferno price ls --cloud {key.cloud}" if waits else f"inferno price refresh --cloud {key.cloud}"
    return Finding(
        Kind.PRICE,
        f"{key} {'waits' if waits else 'is old'}",
        Severity.WARNING if waits else Severity.INFO,
        f"{said}, which {_nodes(flag.nodes, 'use', 'uses')} ({_some(flag.nodes)}). {flag.verdict.reason}",
        next_step,
        {
            "price": dollars(quote.micros),
            "as of": str(quote.as_of),
            "source": quote.source,
            "nodes": str(len(flag.nodes)),
        },
    )


def _nodes(names: Sequence[str], several: str, one: str) -> str:
    return f"{len(names)} nodes {several}" if len(names) > 1 else f"1 node {one}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
