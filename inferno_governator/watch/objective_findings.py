"""What is said of an objective whose error budget burns too fast."""

from __future__ import annotations

from collections.abc import Sequence

from inferno_governator.alerts.alert import Finding, Kind
from inferno_governator.watch.burn_rates import Burn, reasons, worst
from inferno_governator.watch.objective import Objective


def findings(objective: Objective, found: Sequence[Burn]) -> list[Finding]:
    """One finding, for the fastest windows that burn too fast; none where none does."""
    burn = worst(found)
    if burn is None:
        return []
    counts = reasons(burn.long)
    leading = max(counts, key=lambda name: counts[name])
    said = {
        "failed": "failed",
        "slow": f"took longer than {objective.latency_micros / 1000:g} ms",
        "queued": f"waited in a queue of more than {objective.queue_micros / 1000:g} ms",
    }[leading]
    left = objective.days * 24 / burn.long_rate
    window = _length(burn.rule.long_minutes)
    return [
        Finding(
            Kind.OBJECTIVE,
            f"model {objective.model}",
            burn.rule.severity,
            f"Model {objective.model} burns its error budget {burn.long_rate:.1f} times too fast over {window}: "
            f"{counts[leading]} of {burn.long.requests} requests {said}. At this rate the whole budget of "
            f"{objective.days} days lasts {left:.1f} h.",
            f"inferno explain {objective.model} --as model",
            {
                "objective": f"{objective.share:.4%} good in {objective.days} d",
                f"burn rate {window}": f"{burn.long_rate:.2f}",
                f"burn rate {_length(burn.rule.short_minutes)}": f"{burn.short_rate:.2f}",
                "alert above": f"{burn.threshold:.2f}",
                **{name: str(count) for name, count in counts.items()},
            },
        )
    ]


def _length(minutes: int) -> str:
    if minutes % 1440 == 0:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
