"""What a tuning found, as JSON and in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inferno_backend.benchmark.curve import Step
from inferno_backend.benchmark.report import table
from inferno_backend.benchmark.results import step_document
from inferno_backend.benchmark.subject import Subject
from inferno_backend.tuning.duel import Round, Verdict
from inferno_backend.tuning.search import Trial
from inferno_backend.tuning.space import Point

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Tuning:
    """The whole of a tuning.

    Attributes:
        subject: The model as it was configured before.
        objective_ms: What its 99th percentile had to keep.
        trials: Every point that was tried with its briefest trial.
        baseline: The point it stood at.
        winner: The best point found; the baseline itself when none was better.
        rounds: Both measured side by side.
        verdict: What those say; None when there was nothing to compare.
        measured_micros: When it ended, Unix time in microseconds.
    """

    subject: Subject
    objective_ms: float
    trials: Mapping[Point, Trial]
    baseline: Point
    winner: Point
    rounds: Sequence[Round]
    verdict: Verdict | None
    measured_micros: int

    @property
    def better(self) -> bool:
        """True when the winner is to be used."""
        return self.verdict is not None and self.verdict.better

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "format": _FORMAT,
            "subject": asdict(self.subject),
            "objective_ms": self.objective_ms,
            "measured_micros": self.measured_micros,
            "baseline": asdict(self.baseline),
            "winner": asdict(self.winner),
            "better": self.better,
            "verdict": asdict(self.verdict) if self.verdict else None,
            "rounds": [
                {"baseline": step_document(each.baseline), "winner": step_document(each.winner), "ratio": each.ratio}
                for each in self.rounds
            ],
            "trials": [
                {**asdict(point), "steps": [step_document(step) for step in trial.steps], "error": trial.error}
                for point, trial in self.trials.items()
            ],
        }

    def text(self) -> str:
        """For people: each point with its capacity, the best first, and the verdict."""
        ranked = sorted(self.trials, key=lambda one: self.trials[one].score(self.objective_ms), reverse=True)
        rows = [(self._mark(point), point.words(), *self._cells(self.trials[point])) for point in ranked]
        lines = [
            f"{self.subject.model} on {self.subject.machine.name}, {self.objective_ms:g} ms at p99",
            *table(("", "CONFIGURATION", "REQUESTS/s", "p99 ms", "IN FLIGHT"), rows),
        ]
        if self.verdict is None:
            return "\n".join([*lines, f"As it is configured ({self.baseline.words()}) nothing better was found."])
        said = "is better" if self.better else "is not used"
        return "\n".join(
            [*lines, f"{self.winner.words()} {said}: {self.verdict.reason}, in {len(self.rounds)} rounds."]
        )

    def _mark(self, point: Point) -> str:
        return "now" if point == self.baseline else "best" if point == self.winner else ""

    def _cells(self, trial: Trial) -> tuple[str, str, str]:
        best: Step | None = trial.best(self.objective_ms)
        if best is not None:
            return f"{best.requests_per_second:.4g}", f"{best.p99_ms:.4g}", str(best.concurrency)
        if trial.error:
            return "fails", "-", "-"
        return "-", f"{min(step.p99_ms for step in trial.steps):.4g}", "-"
