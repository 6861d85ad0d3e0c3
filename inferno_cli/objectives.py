"""Objectives, as the governator keeps them and people read them."""

from __future__ import annotations

import math
from typing import Any

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.watch_pb2 import Objective
from inferno_cli import governing, output
from inferno_cli.asking import Asked
from inferno_cli.output import Column
from inferno_runtime.errors import InvalidInput

_WHAT = "objectives"


def objective(model: str, good: float, within_ms: float, queue_ms: float, days: int) -> Objective:
    """The objective that the command line names; ``good`` is in per cent.

    Raises:
        InvalidInput: A number is none that an objective can have.
    """
    if not all(math.isfinite(each) for each in (good, within_ms, queue_ms)):
        raise InvalidInput("An objective has numbers.", reason="BAD_OBJECTIVE", fix="Write them like 99.5.")
    # Decimal places beyond these are those of the division by 100.
    return Objective(
        model=model,
        share=round(good / 100, 12),
        latency_micros=round(within_ms * 1000),
        queue_micros=round(queue_ms * 1000),
        days=days,
    )


def keep(asked: Asked, one: Objective) -> None:
    """Have an objective kept, and say so."""
    request = wire.SetObjectiveRequest(objective=one)
    governing.ask(asked, lambda stub: stub.SetObjective(request, timeout=asked.timeout), _WHAT)
    within = f" within {_milliseconds(one.latency_micros)} ms" if one.latency_micros else ""
    waits = f", waiting {_milliseconds(one.queue_micros)} ms at most" if one.queue_micros else ""
    output.say(f"Model {one.model}: {_percent(one.share)} % of its requests good{within}{waits}, over {one.days} d.")


def delete(asked: Asked, model: str) -> None:
    """Have an objective forgotten, and say so."""
    request = wire.DeleteObjectiveRequest(model=model)
    governing.ask(asked, lambda stub: stub.DeleteObjective(request, timeout=asked.timeout), _WHAT)
    output.say(f"The objective of model {model} is gone.")


def show(asked: Asked) -> None:
    """Print every objective, as a table or as JSON."""
    request = wire.ListObjectivesRequest()
    answer = governing.ask(asked, lambda stub: stub.ListObjectives(request, timeout=asked.timeout), _WHAT)
    rows = [_document(each) for each in answer.objectives]
    if asked.form == "json":
        output.print_json(rows)
    elif not rows:
        output.print_line("No objective is set. Set one with: inferno watch objective set MODEL --good 99.5")
    else:
        output.print_table(_COLUMNS, rows)


def _document(one: Objective) -> dict[str, Any]:
    return {
        "model": one.model,
        "share": one.share,
        "latency_micros": one.latency_micros or None,
        "queue_micros": one.queue_micros or None,
        "days": one.days,
        "in_settings": one.in_settings,
    }


def _percent(share: float) -> str:
    return f"{share * 100:.10g}"


def _milliseconds(micros: int | None) -> str:
    return "-" if micros is None else f"{micros / 1000:g}"


_COLUMNS = (
    Column("model", "MODEL"),
    Column("share", "GOOD %", show=_percent, right=True),
    Column("latency_micros", "WITHIN ms", show=_milliseconds, right=True),
    Column("queue_micros", "QUEUE ms", show=_milliseconds, right=True),
    Column("days", "DAYS", right=True),
    Column("in_settings", "SET BY", show=lambda settled: "settings" if settled else "a call"),
)
