"""GPUs through a library: the loop with a stand-in here, the libraries themselves where there is a GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from inferno_backend.benchmark import gpu
from inferno_backend.benchmark.gpu import Device, Work
from inferno_backend.benchmark.results import Figure
from inferno_runtime.errors import Unsupported


class StandIn:
    """A library with two GPUs whose work takes the time that is given."""

    name = "standin 1"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.runs = 0

    def devices(self) -> tuple[Device, ...]:
        return (Device(0, "GPU-a", "One", 80), Device(1, "GPU-b", "Two", 80))

    def work(self, device: Device) -> Iterator[Work]:
        yield Work("memory", "GB/s", 2.0, self._run)

    def _run(self) -> float:
        self.runs += 1
        return self._seconds


def test_every_gpu_is_measured_often_enough_and_told_of() -> None:
    library, told = StandIn(0.5), list[Figure]()
    found = gpu.measure(library, 1.0, told.append)
    assert list(found) == told
    assert [(one.device, one.name, one.value, one.spread, one.library) for one in found] == [
        ("GPU-a", "One", 4.0, 0.0, "standin 1"),
        ("GPU-b", "Two", 4.0, 0.0, "standin 1"),
    ]
    assert library.runs == 2 * (1 + 5)


def test_a_machine_without_a_library_says_so_in_one_sentence() -> None:
    with pytest.raises(Unsupported, match="neither torch nor cupy is installed"):
        gpu.library(("no_such_library",))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch", "cupy"])
def test_a_real_gpu_has_positive_figures_below_its_published_peak(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    from inferno_backend.benchmark.health import of_peak

    found = gpu.measure(gpu.library((name,)), 0.2, lambda _: None)
    assert {"memory", "matmul_fp32", "matmul_fp16", "copy_to_device", "copy_from_device"} <= {
        one.figure for one in found
    }
    assert all(one.value > 0 for one in found)
    assert all((of_peak(one) or 0) < 1.1 for one in found)
