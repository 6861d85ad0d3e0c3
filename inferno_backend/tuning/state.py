"""What a tuning has measured so far, on disk, so that one that is interrupted goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inferno_backend.benchmark.results import step_document, step_of
from inferno_backend.tuning.duel import Round
from inferno_backend.tuning.search import Trial
from inferno_backend.tuning.space import Point
from inferno_runtime import private_file
from inferno_runtime.errors import Unavailable

_FORMAT = 1


class State:
    """The file ``state.json`` of one tuning.

    ``about`` says what is tuned and how: a file about anything else is begun anew.
    """

    def __init__(self, folder: Path, about: str) -> None:
        self._file = folder / "state.json"
        self._about = about
        self._trials: dict[str, Trial] = {}
        self._rounds: dict[str, list[Round]] = {}
        self.resumed = self._read()

    def trial(self, point: Point, rung: int) -> Trial | None:
        """What a point showed; None when it was not measured yet."""
        return self._trials.get(f"{point.key} r{rung}")

    def rounds(self, winner: Point) -> list[Round]:
        """The rounds that were measured against a winner."""
        return list(self._rounds.get(winner.key, ()))

    def keep_trial(self, point: Point, rung: int, trial: Trial) -> None:
        """Write down what a point showed.

        Raises:
            Unavailable: It cannot be written.
        """
        self._trials[f"{point.key} r{rung}"] = trial
        self._write()

    def keep_round(self, winner: Point, seen: Round) -> None:
        """Write down a round. Raises as :meth:`keep_trial`."""
        self._rounds.setdefault(winner.key, []).append(seen)
        self._write()

    def forget(self) -> None:
        """The tuning is over: the next one measures anew."""
        self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        document = {
            "format": _FORMAT,
            "about": self._about,
            "trials": {
                key: {"steps": [step_document(step) for step in trial.steps], "error": trial.error}
                for key, trial in self._trials.items()
            },
            "rounds": {key: [asdict(each) for each in rounds] for key, rounds in self._rounds.items()},
        }
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            private_file.replace(self._file, json.dumps(document).encode())
        except OSError as error:
            raise Unavailable(
                f"What was measured cannot be kept in {self._file}: {error.strerror}.",
                reason="NO_DATA_DIR",
                fix="Choose another folder with --data-dir.",
            ) from error

    def _read(self) -> bool:
        try:
            document: Any = json.loads(self._file.read_text(encoding="utf-8"))
            if (document["format"], document["about"]) != (_FORMAT, self._about):
                return False
            trials = {
                key: Trial(tuple(step_of(step) for step in each["steps"]), each["error"])
                for key, each in document["trials"].items()
            }
            rounds = {
                key: [Round(step_of(one["baseline"]), step_of(one["winner"])) for one in each]
                for key, each in document["rounds"].items()
            }
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self._trials, self._rounds = trials, rounds
        return bool(trials)
