"""Items of a bill, made by hand and by hypothesis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.usage import Facts

HOUR_MICROS = 3_600_000_000
DAY = 29_700_000 // 1440  # 2026-06-21, in days
MINUTE = DAY * 1440
H100 = Facts(
    price=6_880_000, region="us-east-1", device="NVIDIA H100", gpu_count=1, instance_type="p5.4xlarge", provider="aws"
)
L4 = Facts(price=805_000, region="eu-west-1", device="NVIDIA L4", gpu_count=1, instance_type="g6.xlarge", spot=True)


def item(node: str = "node-1", facts: Facts = H100, hours: float = 1, **own: Any) -> Item:
    """Work of a model for some hours, unless it is said otherwise; a node in whole seconds costs whole micro-dollars
    where its price is a multiple of 3,600."""
    paid = round(hours * HOUR_MICROS)
    purpose = own.pop("purpose", Purpose.WORK)
    work = purpose is Purpose.WORK
    made = Item(
        start_minute=own.pop("start_minute", MINUTE),
        minutes=own.pop("minutes", 60),
        node=node,
        facts=facts,
        purpose=purpose,
        model=own.pop("model", "llama" if work else ""),
        version=own.pop("version", "1" if work else ""),
        team=own.pop("team", ""),
        key=own.pop("key", ""),
        paid_micros=paid,
        cost_micros=own.pop("cost_micros", paid * facts.price // HOUR_MICROS),
    )
    return made._replace(**own)


def idle(node: str = "node-1", facts: Facts = H100, hours: float = 1, **own: Any) -> Item:
    """A node that could serve, and no model computed."""
    return item(node, facts, hours, purpose=Purpose.IDLE, **own)


def unused(cost_micros: int, facts: Facts, **own: Any) -> Item:
    """What was paid for a commitment and not used."""
    return item("", facts, 0, purpose=Purpose.UNUSED, cost_micros=cost_micros, **own)._replace(
        committed_micros=cost_micros
    )


_counts = st.integers(0, 10**7)
facts = st.builds(
    Facts,
    price=st.sampled_from([0, 805_000, 6_880_000, 1_000_001]),
    region=st.sampled_from(["us", "eu"]),
    device=st.sampled_from(["cpu", "NVIDIA L4"]),
    gpu_count=st.integers(0, 2),
    instance_type=st.just("i"),
    spot=st.booleans(),
)
# What a commitment covers costs what it says.
_terms: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {"origin": "reservation"}, {"origin": "savings_plan"}])


@st.composite
def some(draw: st.DrawFn) -> Item:
    """Any item that the contract allows: what cost something took some time."""
    purpose = draw(st.sampled_from(Purpose))
    work = purpose is Purpose.WORK
    nature, terms = draw(facts), draw(_terms)
    if terms:
        part = nature.price if terms["origin"] == "reservation" else draw(st.integers(0, nature.price))
        nature = replace(nature, spot=False, commitment="c", committed=part, **terms)
    if purpose is Purpose.UNUSED:
        whole = replace(nature, spot=False, commitment="c", committed=nature.price, origin="reservation")
        cost = draw(st.integers(-1_000, 10**8))
        return unused(cost, whole, start_minute=MINUTE + draw(st.integers(0, 3000)))
    paid = draw(st.integers(0, 24 * HOUR_MICROS))
    cost = paid * nature.price // HOUR_MICROS + (nature.price > 0 and paid > 0 and draw(st.booleans()))
    counters = {
        name: draw(_counts) if work else 0
        for name in ("requests", "errors", "inferences", "input_tokens", "output_tokens", "request_micros")
    }
    return Item(
        start_minute=MINUTE + draw(st.integers(0, 3000)),
        minutes=draw(st.sampled_from([1, 60, 1440])),
        node=draw(st.sampled_from(["a", "b", "c"])),
        facts=nature,
        purpose=purpose,
        model=draw(st.sampled_from(["m", "n"])) if work else "",
        version=draw(st.sampled_from(["1", "2"])) if work else "",
        team=draw(st.sampled_from(["", "t"])) if work else "",
        key=draw(st.sampled_from(["", "k"])) if work else "",
        paid_micros=paid,
        cost_micros=cost,
        committed_micros=cost
        if nature.committed == nature.price
        else min(cost, paid * nature.committed // HOUR_MICROS),
        **counters,
    )


bills = st.lists(some(), max_size=12)
# What nodes cost alone.
of_nodes = st.lists(some().filter(lambda each: each.purpose is not Purpose.UNUSED), max_size=12)
