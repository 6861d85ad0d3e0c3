"""GPUs through a library: the loop with a stand-in here, the libraries themselves where there is a GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from inferno_backend.benchmark import gpu
from inferno_backend.benchmark.gpu import Device, Work
from inferno_backend.benchmark.results import Figure
from inferno_runtime.errors import Unsupported


def none_left_out(device: Device, figure: str, reason: str) -> None:
    raise AssertionError(f"{figure} of {device.name} is left out: {reason}")


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
    found = gpu.measure(library, 1.0, told.append, none_left_out)
    assert list(found) == told
    assert [(one.device, one.name, one.value, one.spread, one.library) for one in found] == [
        ("GPU-a", "One", 4.0, 0.0, "standin 1"),
        ("GPU-b", "Two", 4.0, 0.0, "standin 1"),
    ]
    assert library.runs == 2 * (1 + 5)


@pytest.mark.parametrize(
    ("error", "says"), [(RuntimeError("no fp8 here\nat x"), "no fp8 here"), (MemoryError(), "MemoryError")]
)
def test_what_a_gpu_refuses_is_left_out_with_the_reason_and_the_rest_is_measured(error: Exception, says: str) -> None:
    class Refusing(StandIn):
        def work(self, device: Device) -> Iterator[Work]:
            yield Work("matmul_fp8", "TFLOP/s", 1.0, self._refuse)
            yield from super().work(device)

        def _refuse(self) -> float:
            raise error

    told: list[tuple[str, str, str]] = []
    found = gpu.measure(Refusing(0.5), 0.1, lambda _: None, lambda *what: told.append((what[0].uuid, *what[1:])))
    assert [one.figure for one in found] == ["memory", "memory"]
    assert gpu.idle(Refusing(0.5), found) == ()
    assert [device.uuid for device in gpu.idle(Refusing(0.5), found[:1])] == ["GPU-b"]
    assert told == [("GPU-a", "matmul_fp8", says), ("GPU-b", "matmul_fp8", says)]


def test_a_machine_without_a_library_says_so_in_one_sentence() -> None:
    with pytest.raises(Unsupported, match="neither torch nor cupy is installed"):
        gpu.library(("no_such_library",))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch", "cupy"])
def test_a_real_gpu_has_positive_figures_below_its_published_peak(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    from inferno_backend.benchmark.health import of_peak

    found = gpu.measure(gpu.library((name,)), 0.2, lambda _: None, none_left_out)
    assert {"memory", "matmul_fp32", "matmul_fp16", "copy_to_device", "copy_from_device"} <= {
        one.figure for one in found
    }
    assert all(one.value > 0 for one in found)
    assert all((of_peak(one) or 0) < 1.1 for one in found)


class Event:
    """An event of a stand-in GPU; between two of them lie 2 ms."""

    def __init__(self, enable_timing: bool = True) -> None:
        self.recorded = False

    def record(self) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        assert self.recorded

    def elapsed_time(self, end: Event) -> float:
        assert self.recorded
        assert end.recorded
        return 2.0


class Tensor:
    """A tensor that takes part in everything and holds nothing."""

    def __init__(self, dtype: str = "float32") -> None:
        self.dtype = dtype

    def to(self, dtype: str) -> Tensor:
        return Tensor(dtype)

    def t(self) -> Tensor:
        return self

    def pin_memory(self) -> Tensor:
        return self

    def copy_(self, source: Tensor, non_blocking: bool = False) -> Tensor:
        return self


def torch(capability: tuple[int, int], products: list[tuple[str, bool]]) -> Any:
    """The part of torch that is used, on one GPU; notes each product with its type, and whether tf32 was allowed."""
    settings = SimpleNamespace(allow_tf32=False)

    def product(left: Tensor, right: Tensor, *rest: object, **options: object) -> Tensor:
        assert left.dtype == right.dtype
        products.append((left.dtype, settings.allow_tf32))
        return left

    def make(*_: object, dtype: str = "float32", device: str = "cpu") -> Tensor:
        return Tensor(dtype)

    properties = SimpleNamespace(name="NVIDIA Stand-in", total_memory=1 << 34, uuid="0001")
    cuda = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 1,
        get_device_properties=lambda _: properties,
        get_device_capability=lambda _: capability,
        device=lambda _: nullcontext(),
        Event=Event,
    )
    names = ("uint8", "int8", "float16", "bfloat16", "float8_e4m3fn")
    return SimpleNamespace(
        __version__="9",
        cuda=cuda,
        backends=SimpleNamespace(cuda=SimpleNamespace(matmul=settings)),
        matmul=product,
        _int_mm=product,
        _scaled_mm=product,
        **dict.fromkeys(("zeros", "ones", "randn"), make),
        **{name: name for name in names},
    )


@pytest.mark.parametrize(
    ("capability", "kinds"),
    [
        ((7, 0), ["fp32", "fp16"]),
        ((7, 5), ["fp32", "fp16", "int8"]),
        ((8, 0), ["fp32", "tf32", "fp16", "bf16", "int8"]),
        ((9, 0), ["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]),
    ],
)
def test_torch_multiplies_in_each_precision_that_the_gpu_has(capability: tuple[int, int], kinds: list[str]) -> None:
    products: list[tuple[str, bool]] = []
    module = torch(capability, products)
    found = gpu.measure(gpu.Torch(module), 0.001, lambda _: None, none_left_out)
    assert [one.figure for one in found] == [
        "memory", *(f"matmul_{kind}" for kind in kinds), "copy_to_device", "copy_from_device"
    ]  # fmt: skip
    assert {one.device for one in found} == {"GPU-0001"}
    types = {"fp16": "float16", "bf16": "bfloat16", "int8": "int8", "fp8": "float8_e4m3fn"}
    assert list(dict.fromkeys(products)) == [(types.get(kind, "float32"), kind == "tf32") for kind in kinds]
    values = {one.figure: one.value for one in found}
    # A GiB is read and written in 2 ms; a product of two matrices of 8192 takes as long.
    assert values["memory"] == pytest.approx(2 * (1 << 30) / 1e9 / 0.002)
    assert values["matmul_fp16"] == pytest.approx(2 * 8192**3 / 1e12 / 0.002)
    assert not module.backends.cuda.matmul.allow_tf32


def cupy(devices: int) -> Any:
    """The part of cupy that is used."""

    class Failed(Exception):
        """CUDA's error."""

    def count() -> int:
        if not devices:
            raise Failed
        return devices

    memory = SimpleNamespace(copy_from_host_async=lambda *_: None, copy_to_host_async=lambda *_: None)
    array = SimpleNamespace(data=memory)
    properties = {"uuid": bytes(16), "name": b"NVIDIA Stand-in", "totalGlobalMem": 1 << 34}
    runtime = SimpleNamespace(CUDARuntimeError=Failed, getDeviceCount=count, getDeviceProperties=lambda _: properties)
    cuda = SimpleNamespace(
        runtime=runtime,
        Device=lambda _: nullcontext(),
        Event=Event,
        Stream=SimpleNamespace(null=None),
        get_elapsed_time=lambda begin, end: begin.elapsed_time(end),
        alloc_pinned_memory=lambda _: SimpleNamespace(ptr=0),
    )
    return SimpleNamespace(
        __version__="9", cuda=cuda, uint8="uint8", float32="float32", float16="float16",
        zeros=lambda *_: array, ones=lambda *_: array, matmul=lambda *_: array, copyto=lambda *_: None,
    )  # fmt: skip


def test_cupy_measures_what_it_has_plain_calls_for_and_a_machine_without_a_gpu_has_none() -> None:
    assert gpu.Cupy(cupy(0)).devices() == ()
    found = gpu.measure(gpu.Cupy(cupy(1)), 0.001, lambda _: None, none_left_out)
    kinds = ["memory", "matmul_fp32", "matmul_fp16", "copy_to_device", "copy_from_device"]
    assert [one.figure for one in found] == kinds
    assert {(one.device, one.library) for one in found} == {(f"GPU-{UUID(int=0)}", "cupy 9")}
