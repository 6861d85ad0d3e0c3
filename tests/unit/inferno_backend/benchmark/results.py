"""Results as tests need them."""

from __future__ import annotations

from inferno_backend.benchmark.curve import Step
from inferno_backend.benchmark.results import Figure, HardwareResult, ModelResult
from inferno_backend.benchmark.subject import Machine, Subject

MACHINE = Machine("box", "8 × EPYC, 32 GiB, 2 × NVIDIA H100 80GB HBM3")


def step(rate: float = 100.0, *, concurrency: int = 1, uncertainty: float = 0.02, cores: float = 0.1) -> Step:
    return Step(1, concurrency, 2.0, int(2 * rate), 0, rate, uncertainty, 9.0, 9.0, 10.0, 12.0, cores)


def model(
    *steps: Step, at: int = 1, files: str = "f", complete: bool = True, objective: float | None = 20
) -> ModelResult:
    subject = Subject(MACHINE, "m", files, "c", "1 instance")
    return ModelResult(subject, at, steps, objective, complete=complete, triton="2.51.0")


def figure(value: float, device: str = "GPU-1", figure: str = "memory", *, spread: float = 0.0) -> Figure:
    return Figure(device, "NVIDIA H100 80GB HBM3", figure, value, "GB/s", spread, "torch 2")


def hardware(*figures: Figure, at: int = 1) -> HardwareResult:
    return HardwareResult(MACHINE, at, figures, complete=True)
