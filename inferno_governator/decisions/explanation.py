"""A decision in sentences, in the order of time. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from inferno_governator.decisions.entry import Entry, Kind
from inferno_governator.decisions.record import Record
from inferno_governator.money import MICROS


def sentences(entry: Entry, record: Record, about: Sequence[Entry]) -> list[str]:
    """What was known, what was thought of, and what came of it; ``about`` are the ledger's entries about it, the oldest
    first."""
    facts = record.facts
    known = f"{len(facts.nodes)} nodes, {len(facts.models)} models and {len(facts.pools)} pools were known"
    ages = ", ".join(f"{name} {age:.0f} s" for name, age in sorted(facts.ages.items()))
    told = [
        f"{_moment(entry.at_micros)}: {known}{f'; ages: {ages}' if ages else ''}. The mode was {record.mode.value}."
    ]
    for each in facts.models:
        promised = f" of {each.objective:g} s promised" if each.objective else ""
        told.append(
            f"Model {each.model}: {each.rate:.4g} requests/s, {each.forecast:.4g} expected, {each.queued:.3g} queued, "
            f"latency {each.latency:.3g} s{promised}.{f' {each.burning}' if each.burning else ''}"
        )
    for ruling in record.rulings:
        of = ruling.proposal
        what = f"{of.verb.value} {of.node or f'a node of pool {of.pool}'}"
        said = "It was allowed" if ruling.allowed else f"It was forbidden by {ruling.guard}: {ruling.sentence}"
        told.append(f"Rule {of.reason.value} would {what}: {_ended(of.sentence)} {_ended(said)}")
    told.append(f"Rule {record.fired} fired." if record.fired else "No rule fired.")
    return [*told, *_later(about)]


def _later(about: Sequence[Entry]) -> Iterable[str]:
    for each in about:
        said = json.loads(each.content)
        if each.kind is Kind.APPROVAL:
            yield f"{_moment(each.at_micros)}: {each.by} approved it."
        elif each.kind is Kind.OUTCOME:
            rehearsed = ", rehearsed" if said["rehearsed"] else ""
            yield (
                f"{_moment(each.at_micros)}: {said['verb']} {said['node']} is {said['outcome']}{rehearsed}. "
                f"{said['sentence']}"
            )
        elif each.kind is Kind.SAVING:
            saved, expected = _dollars(said["saved_micros"]), _dollars(said["forecast_micros_per_hour"])
            before, after = _dollars(said["billed_hour_before_micros"]), _dollars(said["billed_hour_after_micros"])
            # Entries of earlier versions do not say it.
            covered = said.get("committed_hour_before_micros", 0)
            paid_anyway = f" ({_dollars(covered)} of a commitment, which is paid anyway)" if covered else ""
            yield (
                f"{_moment(each.at_micros)}: {said['node']} was billed {before} in the hour before{paid_anyway} and "
                f"{after} in the hour after: {saved} saved, {expected} expected."
            )


def _ended(sentence: str) -> str:
    said = sentence[:1].upper() + sentence[1:]
    return said if said.endswith((".", "!", "?")) else f"{said}."


def _dollars(micros: int) -> str:
    return f"{micros / MICROS:.4f} USD"


def _moment(micros: int) -> str:
    return datetime.fromtimestamp(micros / MICROS, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
