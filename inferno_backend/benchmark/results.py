"""Results on disk: one JSON file for each run, below ``benchmarks`` in the node's data folder.

A file is replaced whole after each step, so that an interrupted run leaves what it measured. What a result is about is
in it (see :mod:`inferno_backend.benchmark.subject`), and its name begins with the hash of that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inferno_backend.benchmark.curve import Step, best
from inferno_backend.benchmark.subject import Machine, Subject
from inferno_runtime import logs, private_file
from inferno_runtime.errors import Unavailable

_LOG = logs.get("benchmark")
FORMAT = 1
FOLDER = "benchmarks"


@dataclass(frozen=True, slots=True)
class ModelResult:
    """A model's capacity curve.

    Attributes:
        subject: What was measured.
        measured_micros: When the run began, Unix time in microseconds.
        steps: The curve, by batch and rising concurrency.
        objective_ms: The 99th percentile that was asked for, in milliseconds; None when none was.
        complete: False for a run that was interrupted.
        triton: Triton's version.
    """

    subject: Subject
    measured_micros: int
    steps: tuple[Step, ...]
    objective_ms: float | None = None
    complete: bool = False
    triton: str = ""

    @property
    def best(self) -> Step | None:
        """The step with the most inferences a second within the objective."""
        return best(self.steps, self.objective_ms)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        found = self.best
        return {
            "format": FORMAT,
            "kind": "model",
            **{name: value for name, value in asdict(self).items() if name != "steps"},
            "steps": [step_document(step) for step in self.steps],
            "best": step_document(found) if found else None,
        }


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing a device can do.

    Attributes:
        device: "cpu", or the GPU's UUID.
        name: The device's name.
        figure: What: ``memory``, ``matmul_fp32``, ``copy_to_device`` and so on.
        value: The median of the tries.
        unit: ``GB/s`` or ``TFLOP/s`` (decimal; TOP/s for integers).
        spread: Half of the distance between the quartiles of the tries, as a share of the median.
        library: What computed it.
    """

    device: str
    name: str
    figure: str
    value: float
    unit: str
    spread: float
    library: str


@dataclass(frozen=True, slots=True)
class HardwareResult:
    """What the devices of a machine showed at one time."""

    machine: Machine
    measured_micros: int
    figures: tuple[Figure, ...]
    complete: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {"format": FORMAT, "kind": "hardware", **asdict(self)}


def step_document(step: Step) -> dict[str, Any]:
    """A step as JSON values."""
    # JSON has no infinity.
    known = step.uncertainty if math.isfinite(step.uncertainty) else None
    return {**asdict(step), "uncertainty": known, "generator_micros": step.generator_micros}


def model_result(document: dict[str, Any]) -> ModelResult:
    """The result of a document.

    Raises:
        KeyError, TypeError: It is none of this format.
    """
    subject = document["subject"]
    return ModelResult(
        Subject(
            Machine(**subject["machine"]), *(subject[key] for key in ("model", "files", "configuration", "settings"))
        ),
        document["measured_micros"],
        tuple(step_of(each) for each in document["steps"]),
        document["objective_ms"],
        document["complete"],
        document["triton"],
    )


def step_of(document: dict[str, Any]) -> Step:
    """The step of a document. Raises as :func:`model_result`."""
    values = {key: value for key, value in document.items() if key != "generator_micros"}
    if values["uncertainty"] is None:
        values["uncertainty"] = math.inf
    return Step(**values)


def hardware_result(document: dict[str, Any]) -> HardwareResult:
    """As :func:`model_result`."""
    return HardwareResult(
        Machine(**document["machine"]),
        document["measured_micros"],
        tuple(Figure(**each) for each in document["figures"]),
        document["complete"],
    )


class Results:
    """The results kept below a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / FOLDER

    def keep(self, result: ModelResult | HardwareResult) -> Path:
        """Write a result, in the place of what the same run wrote before.

        Raises:
            Unavailable: It cannot be written.
        """
        if isinstance(result, ModelResult):
            name = f"model-{result.subject.key}-{result.measured_micros}.json"
        else:
            name = f"hardware-{result.machine.key}-{result.measured_micros}.json"
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            private_file.replace(path, (json.dumps(result.document(), indent=1) + "\n").encode())
        except OSError as error:
            raise Unavailable(
                f"The result cannot be kept in {path}: {error.strerror}.",
                reason="NO_DATA_DIR",
                fix="Choose another folder with --data-dir.",
            ) from error
        return path

    def models(self) -> tuple[ModelResult, ...]:
        """Every model's result, the oldest first."""
        return tuple(sorted(self._read("model", model_result), key=lambda one: one.measured_micros))

    def hardware(self) -> tuple[HardwareResult, ...]:
        """Every result about devices, the oldest first."""
        return tuple(sorted(self._read("hardware", hardware_result), key=lambda one: one.measured_micros))

    def _read(self, kind: str, decode: Any) -> Iterable[Any]:
        for path in sorted(self.folder.glob(f"{kind}-*.json")):
            try:
                document = json.loads(path.read_text(encoding="utf-8"))
                if document["format"] == FORMAT:
                    yield decode(document)
            except (OSError, ValueError, KeyError, TypeError) as error:
                _LOG.warning("a result cannot be read", file=str(path), error=str(error) or type(error).__name__)


def newest(results: Iterable[ModelResult]) -> tuple[ModelResult, ...]:
    """Of each subject the newest complete result, or the newest when none is complete; results without a step are
    none. Ordered by time."""
    found: dict[str, ModelResult] = {}
    for each in sorted(results, key=lambda one: (one.complete, one.measured_micros)):
        if each.steps:
            found[each.subject.key] = each
    return tuple(sorted(found.values(), key=lambda one: one.measured_micros))
