"""``inferno backend tune``, put together: search, compare, write, and only then, if asked, apply."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from inferno_backend.benchmark import capacity, curve, progress, requests, subject
from inferno_backend.benchmark.command import hardware_here, subject_of, unless_stopped
from inferno_backend.benchmark.load import Effort
from inferno_backend.benchmark.subject import Subject
from inferno_backend.node import Hardware
from inferno_backend.settings import BackendSettings
from inferno_backend.triton import installation, repository
from inferno_backend.tuning import duel, overlay, plot, search, space
from inferno_backend.tuning.duel import Round
from inferno_backend.tuning.overlay import Overlay
from inferno_backend.tuning.result import Tuning
from inferno_backend.tuning.search import Trial
from inferno_backend.tuning.space import Limits, Point
from inferno_backend.tuning.stand import Stand, unusable
from inferno_backend.tuning.state import State
from inferno_runtime import private_file
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import InvalidInput, Unavailable, Unsupported
from inferno_runtime.lifecycle import INTERRUPTED, Stop

_GPU_INSTANCES = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line; None is the default of this machine or model."""

    model: str
    objective_ms: float
    instances: int | None = None
    max_batch: int | None = None
    most_concurrency: int = 64
    step_seconds: float = 1.0
    rounds: int = 7
    sweep: tuple[str, ...] = tuple(space.COORDINATES)
    input_file: Path | None = None
    apply: bool = False
    json: bool = False


def sweep_of(text: str) -> tuple[str, ...]:
    """The coordinates of ``--sweep``, in our order; all of them for an empty text.

    Raises:
        InvalidInput: One is unknown.
    """
    words = {word.strip() for word in text.split(",") if word.strip()}
    if unknown := sorted(words - set(space.COORDINATES)):
        raise InvalidInput(
            f"--sweep knows no {unknown[0]!r}.", reason="BAD_SWEEP", fix=f"Choose of {', '.join(space.COORDINATES)}."
        )
    return tuple(name for name in space.COORDINATES if not words or name in words)


class Tune:
    """One run. ``status`` is its exit code, once it has run."""

    def __init__(self, settings: BackendSettings, wanted: Wanted, clock: Clock | None = None) -> None:
        self._settings = settings
        self._wanted = wanted
        self._clock = clock or SystemClock()
        self._folder = settings.data_dir.absolute() / "tuning" / wanted.model
        self.status = 0

    async def run(self, stop: Stop) -> None:
        """Tune and tell.

        Raises:
            InfernoError: The model cannot be tuned, or nothing keeps the objective.
        """
        models, found = self._look()
        with progress.for_terminal() as shown:
            if await unless_stopped(self._tune(models, found, shown), stop):
                return
        sys.stderr.write("Interrupted; the same command goes on where it was.\n")
        self.status = INTERRUPTED

    def _look(self) -> tuple[repository.Repository, installation.Installation]:
        settings, model = self._settings, self._wanted.model
        if settings.model_repository is None:
            raise InvalidInput(
                "There is no model to tune: no model repository is given.",
                reason="BAD_CONFIG",
                fix="Give --model-repository DIR. A Triton that somebody else runs is tuned where its repository is.",
            )
        models = repository.scan_folder(settings.model_repository)
        repository.choose(models, (model,), "MODEL")
        return models, installation.find(settings.triton_binary, os.environ.get("PATH", ""))

    async def _tune(
        self, models: repository.Repository, found: installation.Installation, shown: progress.Lines
    ) -> None:
        model = self._wanted.model
        with tempfile.TemporaryDirectory(prefix="inferno-tune-") as folder:
            laid = Overlay(models.path, model, Path(folder) / "models")
            async with Stand(found, laid, model, self._clock, self._settings.start_timeout) as stand:
                host = await stand.host()
                await host.check_ready(model)
                effective = await host.config(model)
                check(effective)
                here = await asyncio.to_thread(hardware_here)
                machine = subject.machine(here, subject.cpu_name())
                about = await subject_of(machine, effective, models)
                config = _written(models.path / model) or effective
                request, batch = self._request(await host.metadata(model), effective)
                if batch != 1:
                    raise InvalidInput(
                        f"{self._wanted.input_file} holds {batch} inferences; Triton is to put together single ones.",
                        reason="BAD_INPUT_FILE",
                        fix="Give a request with one inference: 1 as the first size of each shape.",
                    )
                limits = self._limits(config, here)
                state = State(self._folder, self._about(about, limits, request))
                if state.resumed:
                    shown.say("Going on where the last run was.")
                for remark in remarks(model, config, limits):
                    shown.say(f"! {remark}")
                tuning = await _Run(self._wanted, limits, stand, config, request, state, shown).result(
                    about, self._clock
                )
        self._write(tuning, overlay.text_of(space.applied(config, tuning.winner)))
        state.forget()
        self._tell(tuning, models.path / model, overlay.text_of(space.applied(config, tuning.winner)))

    def _request(self, metadata: Any, config: Any) -> tuple[bytes, int]:
        if self._wanted.input_file is not None:
            return requests.from_file(self._wanted.input_file, metadata, config)
        return requests.generated(metadata, config, 1), 1

    def _limits(self, config: Any, here: Hardware) -> Limits:
        wanted = self._wanted
        instances = wanted.instances or (_GPU_INSTANCES if here.gpus else here.cpu_count)
        return Limits(instances, max(config.max_batch_size, wanted.max_batch or 0), wanted.objective_ms)

    def _about(self, about: Subject, limits: Limits, request: bytes) -> str:
        """What must be the same for a measurement of an earlier run to count."""
        wanted = self._wanted
        return subject.digest(
            about.key, str(limits), str(wanted.step_seconds), *wanted.sweep, str(wanted.most_concurrency), request.hex()
        )

    def _write(self, tuning: Tuning, text: str) -> None:
        curves = {f"now: {tuning.baseline.words()}": tuning.trials[tuning.baseline].steps}
        if tuning.winner != tuning.baseline:
            curves[f"found: {tuning.winner.words()}"] = tuning.trials[tuning.winner].steps
        files = {
            "tuning.json": json.dumps(tuning.document(), ensure_ascii=False, indent=1) + "\n",
            "tuning.svg": plot.svg(
                f"{tuning.subject.model} on {tuning.subject.machine.name}", curves, tuning.objective_ms
            ),
        }
        if tuning.better:
            files[overlay.CONFIG] = text
        try:
            # What an earlier tuning found is no part of this one.
            (self._folder / overlay.CONFIG).unlink(missing_ok=True)
            for name, content in files.items():
                private_file.replace(self._folder / name, content.encode())
        except OSError as error:
            raise Unavailable(
                f"The result cannot be written to {self._folder}: {error.strerror}.",
                reason="NO_DATA_DIR",
                fix="Choose another folder with --data-dir.",
            ) from error

    def _tell(self, tuning: Tuning, model: Path, text: str) -> None:
        if self._wanted.json:
            sys.stdout.write(json.dumps(tuning.document(), ensure_ascii=False) + "\n")
        else:
            sys.stdout.write(f"{tuning.text()}\nwritten to {self._folder}\n")
        if not self._wanted.apply:
            return
        if not tuning.better:
            sys.stderr.write("Nothing is applied: nothing better was proven.\n")
            return
        try:
            before = overlay.apply(model, text)
        except OSError as error:
            raise Unavailable(
                f"The configuration cannot be written to {model}: {error.strerror}.",
                reason="NOT_APPLIED",
                fix=f"Copy it from {self._folder}.",
            ) from error
        kept = f"; the old one is {before.name}" if before else ""
        sys.stderr.write(f"Applied to {model / overlay.CONFIG}{kept}. Nodes that run it load it when they start.\n")


class _Run:
    """The search and the comparison of one tuning."""

    def __init__(
        self,
        wanted: Wanted,
        limits: Limits,
        stand: Stand,
        config: Any,
        request: bytes,
        state: State,
        shown: progress.Lines,
    ) -> None:
        self._wanted = wanted
        self._limits = limits
        self._stand = stand
        self._config = config
        self._request = request
        self._state = state
        self._shown = shown
        self._trials: dict[Point, Trial] = {}

    async def result(self, about: Subject, clock: Clock) -> Tuning:
        """Search, and compare what was found.

        Raises:
            InfernoError: The model does not run as it is, or nothing keeps the objective.
        """
        objective, start = self._limits.objective_ms, space.point_of(self._config)
        self._shown.begin(f"tuning {self._wanted.model}", None)
        first = await self._measure(start, 0)
        if first.error:
            raise unusable(first)
        winner = await search.search(start, self._limits, self._measure, self._wanted.sweep)
        best = max(self._trials.values(), key=lambda trial: trial.score(objective))
        if best.best(objective) is None:
            raise _unmet(self._wanted.model, objective, self._trials)
        if self._trials[winner].best(objective) is None:
            # It kept the objective briefly and not for longer.
            winner = start
        self._shown.end()
        rounds: list[Round] = []
        if winner != start:
            rounds = await self._compare(start, winner)
        verdict = duel.verdict(rounds, objective) if rounds else None
        micros = int(clock.wall() * 1_000_000)
        return Tuning(about, objective, dict(self._trials), start, winner, rounds, verdict, micros)

    async def _measure(self, point: Point, rung: int) -> Trial:
        known = self._state.trial(point, rung)
        if known is None:
            known = await self._stand.trial(
                self._config,
                point,
                self._request,
                self._limits.objective_ms,
                self._levels(point, rung),
                _effort(self._wanted.step_seconds * 2**rung),
            )
            self._state.keep_trial(point, rung, known)
            self._shown.step(f"{point.words()}: {_said(known, self._limits.objective_ms)}")
        if rung == 0:
            self._trials[point] = known
        return known

    def _levels(self, point: Point, rung: int) -> tuple[int, ...]:
        """All of them at first; then the best one so far, with its neighbours."""
        levels = curve.concurrencies(self._wanted.most_concurrency)
        best = self._trials[point].best(self._limits.objective_ms) if rung else None
        if best is None:
            return levels
        return tuple(level for level in levels if best.concurrency // 2 <= level <= best.concurrency * 2)

    async def _compare(self, start: Point, winner: Point) -> list[Round]:
        """Both in turn, each with as many requests in flight as suited it best; who begins changes with each round."""
        objective = self._limits.objective_ms
        levels = {point: self._level(point, objective) for point in (start, winner)}
        rounds = self._state.rounds(winner)
        self._shown.begin("side by side", self._wanted.rounds)
        effort = _effort(self._wanted.step_seconds * 2)
        while len(rounds) < self._wanted.rounds:
            order = (start, winner) if len(rounds) % 2 == 0 else (winner, start)
            steps = {
                point: await self._stand.step(self._config, point, self._request, levels[point], effort)
                for point in order
            }
            rounds.append(Round(steps[start], steps[winner]))
            self._state.keep_round(winner, rounds[-1])
            self._shown.step(f"{rounds[-1].ratio:.2f} times the throughput")
        self._shown.end()
        return rounds

    def _level(self, point: Point, objective_ms: float) -> int:
        best = self._trials[point].best(objective_ms)
        return best.concurrency if best else 1


def check(config: Any) -> None:
    """Refuse a model with nothing to tune.

    Raises:
        Unsupported: It is an ensemble, decoupled or stateful.
    """
    if config.platform == "ensemble" or config.ensemble_scheduling.step:
        raise Unsupported(
            f"The model {config.name} is an ensemble: it has no batches or instances of its own.",
            reason="ENSEMBLE_MODEL",
            fix="Tune the models it is made of.",
        )
    capacity.check(config)


def remarks(model: str, config: Any, limits: Limits) -> tuple[str, ...]:
    """What is left as it is, and why; ``config`` as its author wrote it, who need not have named the model."""
    said = []
    if config.max_batch_size <= 0:
        said.append(f"{model} does not batch (max_batch_size 0): only its instances are tuned.")
    elif limits.max_batch == 1:
        said.append(f"{model} takes batches of 1 only: give --max-batch N if it can take more.")
    if len(config.instance_group) > 1:
        said.append(f"{model} has several instance groups: their counts stay as they are.")
    return tuple(said)


def _written(model: Path) -> Any:
    """The configuration as its author wrote it; None where Triton completes it by itself."""
    path = model / overlay.CONFIG
    if not path.is_file():
        return None
    return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def _effort(seconds: float) -> Effort:
    return Effort(seconds=seconds, warm_up=seconds / 4, requests=50, stretch=2.0)


def _said(trial: Trial, objective_ms: float) -> str:
    if trial.error:
        return f"fails ({trial.error.splitlines()[0]})"
    best = trial.best(objective_ms)
    return f"{best.requests_per_second:.4g} requests/s" if best else "does not keep the objective"


def _unmet(model: str, objective_ms: float, trials: dict[Point, Trial]) -> InvalidInput:
    quickest = min(
        ((step.p99_ms, step.concurrency, point) for point, trial in trials.items() for step in trial.steps),
        key=lambda one: one[0],
    )
    return InvalidInput(
        f"No configuration of {model} keeps {objective_ms:g} ms at p99: the quickest ({quickest[2].words()}) takes "
        f"{quickest[0]:.4g} ms with {quickest[1]} in flight.",
        reason="OBJECTIVE_UNMET",
        fix="Give a larger --objective-p99, or make the model itself quicker.",
        metadata={"model": model},
    )
