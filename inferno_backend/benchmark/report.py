"""Results as people read them. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from inferno_backend.benchmark.curve import Step
from inferno_backend.benchmark.health import of_peak
from inferno_backend.benchmark.results import HardwareResult, ModelResult

# From here on the load generator, and not the model, may be what limits the throughput: it has one thread.
BUSY_GENERATOR = 0.8
_NUMBER = re.compile(r"[-?]|[0-9][0-9.e+-]*(%| µs)?|fails")


def step_text(step: Step) -> str:
    """One step in a line."""
    return (
        f"batch {step.batch}, {step.concurrency} in flight: {step.requests_per_second:.4g} requests/s "
        f"(±{_percent(step.uncertainty)}), p99 {step.p99_ms:.4g} ms"
    )


def model_text(result: ModelResult) -> str:
    """A model's curve as a table, with its capacity below."""
    subject = result.subject
    head = (
        "BATCH",
        "IN FLIGHT",
        "REQUESTS/s",
        "±",
        "INFERENCES/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "FAILED",
        "LOAD CPU",
    )
    rows = [
        (
            str(step.batch),
            str(step.concurrency),
            f"{step.requests_per_second:.4g}",
            _percent(step.uncertainty),
            f"{step.inferences_per_second:.4g}",
            f"{step.p50_ms:.4g}",
            f"{step.p95_ms:.4g}",
            f"{step.p99_ms:.4g}",
            str(step.failures),
            f"{step.generator_micros:.0f} µs",
        )
        for step in result.steps
    ]
    lines = [f"{subject.model} ({subject.settings}) on {subject.machine.name}", *table(head, rows)]
    objective = f" within {result.objective_ms:g} ms at p99" if result.objective_ms is not None else ""
    found = result.best
    if found is None:
        lines.append(f"capacity{objective}: none, no step kept it" if result.steps else "nothing was measured")
    else:
        lines.append(
            f"capacity{objective}: {found.requests_per_second:.4g} requests/s, {found.inferences_per_second:.4g} "
            f"inferences/s (batch {found.batch}, {found.concurrency} in flight)"
        )
    if any(step.generator_cores >= BUSY_GENERATOR for step in result.steps):
        lines.append(
            "! In some steps the load generator used a whole core: the model itself may do more than is shown."
        )
    return "\n".join(lines)


def hardware_text(result: HardwareResult) -> str:
    """The devices' figures as a table, with the share of the published peak where one is known."""
    head = ("DEVICE", "FIGURE", "VALUE", "UNIT", "±", "OF PEAK", "BY")
    rows = []
    for one in result.figures:
        share = of_peak(one)
        peak = "-" if share is None else f"{share:.0%}"
        rows.append((one.device, one.figure, f"{one.value:.4g}", one.unit, f"{one.spread:.0%}", peak, one.library))
    return "\n".join([result.machine.name, *table(head, rows)])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned lines: columns of numbers to the right, others to the left."""
    widths = [max(len(text) for text in column) for column in zip(head, *rows, strict=True)]
    left = [not all(_NUMBER.fullmatch(row[at]) for row in rows) for at in range(len(head))]

    def line(texts: Sequence[str]) -> str:
        placed = zip(texts, widths, left, strict=True)
        return "  ".join(
            text.ljust(width) if to_left else text.rjust(width) for text, width, to_left in placed
        ).rstrip()

    return [line(head), *(line(row) for row in rows)]


def _percent(share: float) -> str:
    return f"{share:.1%}" if math.isfinite(share) else "?"
