"""Prices as people and programs read them: tables, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import price_pb2 as wire
from inferno_cli import output
from inferno_cli.output import Column
from inferno_cli.prices import STATES
from inferno_runtime.errors import InvalidInput, Unavailable

_KINDS = {wire.PRICE_KIND_ON_DEMAND: "on_demand", wire.PRICE_KIND_SPOT: "spot"}
_CSV = (
    *("cloud", "region", "instance_type", "gpu", "gpu_count", "gpu_memory_gb", "vcpus", "memory_gb", "kind"),
    *("usd_per_hour", "as_of", "source"),
)


def document(price: wire.Price) -> dict[str, Any]:
    """A price as JSON values; money in millionths of a US dollar an hour."""
    one = price.offer
    return {
        "cloud": one.cloud,
        "region": one.region,
        "instance_type": one.instance_type,
        "kind": _KINDS.get(one.kind),
        "gpu": one.gpu,
        "gpu_count": one.gpu_count,
        "gpu_memory_gb": one.gpu_memory_gb,
        "vcpus": one.vcpus or None,
        "memory_gb": one.memory_gb or None,
        "price_micros_per_hour": price.price_micros_per_hour,
        "gpu_price_micros_per_hour": price.gpu_price_micros_per_hour,
        "as_of": price.as_of,
        "source": price.source,
        "state": STATES.get(price.state),
        "reason": price.reason or None,
        "first_seen": _time(price.first_seen_time),
        "effective": _time(price.effective_time),
        "replaced": _time(price.replaced_time),
    }


def _time(time: Timestamp) -> str | None:
    return time.ToJsonString() if time.ByteSize() else None


def _age(as_of: str) -> str:
    return f"{(datetime.now(UTC).date() - date.fromisoformat(as_of)).days} d"


def _state_colour(state: str) -> str | None:
    return {"stale": "yellow", "jumped": "red", "refused": "red"}.get(state)


_MACHINE = (
    Column("cloud", "CLOUD"),
    Column("region", "REGION"),
    Column("instance_type", "MACHINE"),
    Column("kind", "KIND"),
)
_COLUMNS = (
    Column("gpu_price_micros_per_hour", "$/GPU-HOUR", show=output.money, right=True),
    Column("price_micros_per_hour", "$/HOUR", show=output.money, right=True),
    Column("gpus", "GPUS"),
    *_MACHINE,
    Column("as_of", "AGE", show=_age, right=True),
    Column("state", "STATE", colour=_state_colour),
    Column("source", "SOURCE"),
)


def show(prices: Sequence[wire.Price], form: str) -> None:
    """Print prices, as a table, JSON or CSV."""
    documents = [document(each) for each in prices]
    if form == "json":
        output.print_json(documents)
    elif form == "csv":
        output.print_line(_csv(documents))
    elif not documents:
        output.print_line("No price is known of such a machine.")
    else:
        output.print_table(_COLUMNS, [{**each, "gpus": f"{each['gpu_count']} {each['gpu']}"} for each in documents])


def _csv(documents: Iterable[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, _CSV, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for each in documents:
        usd = f"{Decimal(each['price_micros_per_hour']) / 1_000_000:f}"
        writer.writerow({**each, "usd_per_hour": usd})
    return out.getvalue().rstrip("\n")


def show_nodes(found: wire.ListNodePricesResponse, form: str) -> None:
    """Print what nodes cost, and how commitments are used."""
    rows = [
        {
            "node": each.node_id,
            "price_micros_per_hour": each.price_micros_per_hour,
            "origin": each.origin,
            "running": each.running,
            "reason": each.reason,
        }
        for each in found.nodes
    ]
    commitments = [
        {
            "name": each.name,
            "price_micros_per_hour": each.price_micros_per_hour,
            "used_micros_per_hour": each.used_micros_per_hour,
            "unused_micros_per_hour": each.unused_micros_per_hour,
            "nodes": list(each.node_ids),
        }
        for each in found.commitments
    ]
    if form == "json":
        output.print_json({"nodes": rows, "commitments": commitments})
        return
    if not rows:
        output.print_line("No node has sent telemetry yet.")
    else:
        columns = (
            Column("node", "NODE"),
            Column("price_micros_per_hour", "$/HOUR", show=output.money, right=True),
            Column("origin", "BY", colour=lambda origin: "red" if origin == "unpriced" else None),
            Column("running", "RUNS", show=lambda runs: "yes" if runs else "no"),
            Column("reason", "WHY"),
        )
        output.print_table(columns, rows)
        unpriced = sum(row["origin"] == "unpriced" for row in rows)
        if unpriced:
            output.print_line(f"! {unpriced} of them have no price: they are billed at $0.")
    if commitments:
        columns = (
            Column("name", "COMMITMENT"),
            Column("price_micros_per_hour", "$/HOUR", show=output.money, right=True),
            Column("used_micros_per_hour", "USED", show=output.money, right=True),
            Column("unused_micros_per_hour", "UNUSED", show=output.money, right=True),
            Column("nodes", "NODES", show=", ".join),
        )
        output.print_line("")
        output.print_table(columns, commitments)


def show_history(prices: Sequence[wire.Price], form: output.Format) -> None:
    """Print what a machine cost when."""
    documents = [document(each) for each in prices]
    if form == "json":
        output.print_json(documents)
        return
    columns = (
        Column("effective", "FROM", show=lambda time: time[:16] if time else "ever"),
        Column("price_micros_per_hour", "$/HOUR", show=output.money, right=True),
        Column("as_of", "AS OF"),
        Column("state", "STATE", colour=_state_colour),
        Column("source", "SOURCE"),
        Column("first_seen", "FIRST SEEN", show=lambda time: time[:16]),
        Column("replaced", "REPLACED", show=lambda time: time[:16] if time else "-"),
        Column("reason", "WHY"),
    )
    output.print_table(columns, documents)


def _told(outcome: wire.PriceOutcome) -> str:
    one = outcome.price.offer
    line = f"line {outcome.line}: " if outcome.line else ""
    if not one.instance_type:
        return f"{line}{outcome.taken}: {outcome.reason}"
    spot = " spot" if one.kind == wire.PRICE_KIND_SPOT else ""
    price = output.money(outcome.price.price_micros_per_hour)
    before = f", before {output.money(outcome.previous_micros_per_hour)}" if outcome.previous_micros_per_hour else ""
    why = f". {outcome.reason}" if outcome.reason else ""
    return f"{line}{outcome.taken}: {one.instance_type}{spot} in {one.cloud} {one.region}: {price}{before}{why}"


def _outcome(outcome: wire.PriceOutcome) -> dict[str, Any]:
    return {
        "line": outcome.line or None,
        "taken": outcome.taken,
        "reason": outcome.reason or None,
        "previous_micros_per_hour": outcome.previous_micros_per_hour or None,
        "price": document(outcome.price) if outcome.HasField("price") else None,
    }


def _counts(counts: wire.PriceCounts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in ("new", "changed", "same", "waits", "refused")}


def _summary(counts: wire.PriceCounts) -> str:
    return ", ".join(f"{count} {name}" for name, count in _counts(counts).items())


def show_set(answer: wire.SetPriceResponse, form: output.Format) -> None:
    """Print what became of a price that was set.

    Raises:
        InvalidInput: The rules refused it.
    """
    outcome = answer.outcome
    if outcome.taken == "refused":
        raise InvalidInput(
            outcome.reason, reason="PRICE_REFUSED", fix="Give the price of an hour of the whole machine."
        )
    if form == "json":
        output.print_json({**_outcome(outcome), "rebilled_nodes": answer.rebilled_nodes})
        return
    output.print_line(_told(outcome))
    if outcome.taken == "waits":
        output.print_line("Give it again with --confirm if it is right.")
    if answer.rebilled_nodes:
        output.print_line(f"{answer.rebilled_nodes} nodes are billed again for that time.")


def show_import(answer: wire.ImportPricesResponse, file: Path, form: output.Format) -> None:
    """Print what became of a table."""
    if form == "json":
        output.print_json({"counts": _counts(answer.counts), "outcomes": [_outcome(each) for each in answer.outcomes]})
        return
    for each in answer.outcomes:
        output.print_line(f"{file}: {_told(each)}")
    output.print_line(_summary(answer.counts))


def show_refresh(answer: wire.RefreshPricesResponse, form: output.Format) -> None:
    """Print what sources gave.

    Raises:
        Unavailable: None of them could be asked.
    """
    if form == "json":
        output.print_json(
            [
                {
                    "source": each.source,
                    "error": each.error or None,
                    "counts": _counts(each.counts),
                    "outcomes": [_outcome(one) for one in each.outcomes],
                }
                for each in answer.sources
            ]
        )
    else:
        for each in answer.sources:
            for one in each.outcomes:
                output.print_line(f"{each.source}: {_told(one)}")
            output.print_line(f"{each.source}: {each.error or _summary(each.counts)}")
    failed = [each.source for each in answer.sources if each.error]
    if failed and len(failed) == len(answer.sources):
        raise Unavailable(
            f"No price was refreshed: {', '.join(failed)} cannot be asked.",
            reason="PRICE_SOURCE_UNAVAILABLE",
            fix="The prices that are known stay, with their age: inferno price ls.",
        )
