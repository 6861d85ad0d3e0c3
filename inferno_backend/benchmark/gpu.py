"""What each GPU can do, through a library that the machine has: torch, or else cupy.

Neither is a dependency. What uses them is small and follows their public interface; the loop around it is tested with a
stand-in, the rest by tests marked ``gpu``.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from inferno_backend.benchmark.results import Figure
from inferno_backend.benchmark.tries import rate, timed
from inferno_runtime.errors import Unsupported

_MATRIX = 8192
_MEMORY = 1 << 30
_COPIED = 256 << 20


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU: its number for the library, its UUID as NVML writes it, its name and its memory in bytes."""

    index: int
    uuid: str
    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Work:
    """One thing to measure: ``run`` does it once and returns the seconds it took on the device; ``amount`` is how much
    of ``unit`` times a second that is."""

    figure: str
    unit: str
    amount: float
    run: Callable[[], float]


class Library(Protocol):
    """What computes on a GPU."""

    name: str

    def devices(self) -> tuple[Device, ...]:
        """The GPUs it can use."""
        ...

    def work(self, device: Device) -> Iterator[Work]:
        """What to measure on a GPU, one after the other; what it or the library cannot do is left out."""
        ...


def library(names: tuple[str, ...] = ("torch", "cupy")) -> Library:
    """The first library that is installed and sees a GPU.

    Raises:
        Unsupported: There is none.
    """
    made: dict[str, Callable[[Any], Library]] = {"torch": Torch, "cupy": Cupy}
    installed = [name for name in names if importlib.util.find_spec(name) is not None]
    for name in installed:
        found = made[name](importlib.import_module(name))
        if found.devices():
            return found
    if installed:
        raise Unsupported(
            f"The GPUs are not measured: {installed[0]} sees none of them.",
            reason="NO_GPU_LIBRARY",
            fix="Install a build of it for this machine's driver.",
        )
    raise Unsupported(
        "The GPUs are not measured: neither torch nor cupy is installed in this environment.",
        reason="NO_GPU_LIBRARY",
        fix="Install one of them, and run the benchmark again.",
    )


def measure(
    found: Library, seconds: float, tell: Callable[[Figure], None], leave_out: Callable[[Device, str, str], None]
) -> tuple[Figure, ...]:
    """The figures of every GPU; each is measured for ``seconds``, and ``tell`` hears of it.

    What a GPU refuses to do, ``leave_out`` hears of, with the figure and the library's own reason: a precision that
    this version of the library lacks must not keep the rest from being measured.
    """
    figures: list[Figure] = []
    for device in found.devices():
        for work in found.work(device):
            try:
                value, spread = rate(timed(work.run, seconds), work.amount)
            # Errors of CUDA are RuntimeErrors in both libraries; cupy's lack of memory is a MemoryError.
            except (RuntimeError, MemoryError) as error:
                leave_out(device, work.figure, str(error).strip().partition("\n")[0] or type(error).__name__)
                continue
            figure = Figure(device.uuid, device.name, work.figure, value, work.unit, spread, found.name)
            figures.append(figure)
            tell(figure)
    return tuple(figures)


def idle(found: Library, figures: Iterable[Figure]) -> tuple[Device, ...]:
    """The GPUs that did nothing of what was asked of them."""
    working = {each.device for each in figures}
    return tuple(device for device in found.devices() if device.uuid not in working)


def _size(device: Device, wanted: int) -> int:
    """At most an eighth of the memory: a model may be loaded beside the measurement."""
    return min(wanted, device.memory_bytes // 8)


class Torch:
    """PyTorch."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self.name = f"torch {torch.__version__}"

    def devices(self) -> tuple[Device, ...]:
        """Every CUDA device that torch sees."""
        cuda = self._torch.cuda
        found = [cuda.get_device_properties(at) for at in range(cuda.device_count())] if cuda.is_available() else []
        return tuple(
            Device(at, _uuid(getattr(one, "uuid", ""), at), one.name, one.total_memory) for at, one in enumerate(found)
        )

    def work(self, device: Device) -> Iterator[Work]:
        """Memory, matrix products in each precision, copies from and to pinned memory of the host."""
        torch, where = self._torch, f"cuda:{device.index}"
        size = _size(device, _MEMORY)
        source, target = (torch.zeros(size, dtype=torch.uint8, device=where) for _ in range(2))
        # Read and written.
        yield Work("memory", "GB/s", 2 * size / 1e9, self._on(device, partial(target.copy_, source)))
        del source, target
        operations = 2 * _MATRIX**3 / 1e12
        for precision, product in self._products(where, torch.cuda.get_device_capability(device.index)):
            yield Work(f"matmul_{precision}", "TFLOP/s", operations, self._on(device, product))
        size = _size(device, _COPIED)
        host = torch.zeros(size, dtype=torch.uint8).pin_memory()
        there = torch.zeros(size, dtype=torch.uint8, device=where)
        copy_in, copy_out = lambda: there.copy_(host, non_blocking=True), lambda: host.copy_(there, non_blocking=True)
        yield Work("copy_to_device", "GB/s", size / 1e9, self._on(device, copy_in))
        yield Work("copy_from_device", "GB/s", size / 1e9, self._on(device, copy_out))

    def _products(self, where: str, capability: tuple[int, int]) -> Iterator[tuple[str, Callable[[], object]]]:
        torch, shape = self._torch, (_MATRIX, _MATRIX)
        matmul = torch.backends.cuda.matmul
        before = matmul.allow_tf32
        try:
            for precision, tf32 in (("fp32", False), ("tf32", True)):
                if tf32 and capability < (8, 0):
                    continue
                matmul.allow_tf32 = tf32
                a, b = (torch.randn(shape, device=where) for _ in range(2))
                yield precision, partial(torch.matmul, a, b)
        finally:
            matmul.allow_tf32 = before
        for precision, kind, least in (("fp16", torch.float16, (7, 0)), ("bf16", torch.bfloat16, (8, 0))):
            if capability >= least:
                a, b = (torch.randn(shape, device=where, dtype=kind) for _ in range(2))
                yield precision, partial(torch.matmul, a, b)
        # Torch's own layers use these two, and it has no other way to them; a version without them leaves them out.
        integers, small = getattr(torch, "_int_mm", None), getattr(torch, "_scaled_mm", None)
        if capability >= (7, 5) and integers is not None:
            a, b = (torch.ones(shape, device=where, dtype=torch.int8) for _ in range(2))
            yield "int8", partial(integers, a, b.t())
        if capability >= (8, 9) and small is not None:
            a, b = (torch.ones(shape, device=where).to(torch.float8_e4m3fn) for _ in range(2))
            one = torch.ones((), device=where)
            yield "fp8", partial(small, a, b.t(), one, one, out_dtype=torch.bfloat16)

    def _on(self, device: Device, run: Callable[[], object]) -> Callable[[], float]:
        cuda = self._torch.cuda

        def timed_on_device() -> float:
            with cuda.device(device.index):
                begin, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
                begin.record()
                run()
                end.record()
                end.synchronize()
            return float(begin.elapsed_time(end)) / 1000

        return timed_on_device


class Cupy:
    """CuPy: what it has a plain call for."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self.name = f"cupy {cupy.__version__}"

    def devices(self) -> tuple[Device, ...]:
        """Every CUDA device that cupy sees."""
        runtime = self._cupy.cuda.runtime
        try:
            count = runtime.getDeviceCount()
        except runtime.CUDARuntimeError:
            return ()
        found = [runtime.getDeviceProperties(at) for at in range(count)]
        return tuple(
            Device(at, _uuid(one.get("uuid", b""), at), one["name"].decode(), one["totalGlobalMem"])
            for at, one in enumerate(found)
        )

    def work(self, device: Device) -> Iterator[Work]:
        """Memory, matrix products in fp32 and fp16, copies from and to pinned memory of the host."""
        cupy = self._cupy
        with cupy.cuda.Device(device.index):
            size = _size(device, _MEMORY)
            source, target = (cupy.zeros(size, cupy.uint8) for _ in range(2))
            yield Work("memory", "GB/s", 2 * size / 1e9, self._on(device, partial(cupy.copyto, target, source)))
            del source, target
            for precision, kind in (("fp32", cupy.float32), ("fp16", cupy.float16)):
                a, b = (cupy.ones((_MATRIX, _MATRIX), kind) for _ in range(2))
                product = self._on(device, partial(cupy.matmul, a, b))
                yield Work(f"matmul_{precision}", "TFLOP/s", 2 * _MATRIX**3 / 1e12, product)
            size = _size(device, _COPIED)
            host, there = cupy.cuda.alloc_pinned_memory(size), cupy.zeros(size, cupy.uint8)
            stream = cupy.cuda.Stream.null
            copy_in = self._on(device, lambda: there.data.copy_from_host_async(host.ptr, size, stream))
            copy_out = self._on(device, lambda: there.data.copy_to_host_async(host.ptr, size, stream))
            yield Work("copy_to_device", "GB/s", size / 1e9, copy_in)
            yield Work("copy_from_device", "GB/s", size / 1e9, copy_out)

    def _on(self, device: Device, run: Callable[[], object]) -> Callable[[], float]:
        cuda = self._cupy.cuda

        def timed_on_device() -> float:
            with cuda.Device(device.index):
                begin, end = cuda.Event(), cuda.Event()
                begin.record()
                run()
                end.record()
                end.synchronize()
            return float(cuda.get_elapsed_time(begin, end)) / 1000

        return timed_on_device


def _uuid(told: object, index: int) -> str:
    """A UUID as NVML writes it, from 16 bytes or text; ``gpu-N`` from a library that tells none.

    >>> _uuid(bytes(range(16)), 0), _uuid("", 1)
    ('GPU-00010203-0405-0607-0809-0a0b0c0d0e0f', 'gpu-1')
    """
    if isinstance(told, bytes) and len(told) == 16:
        digits = told.hex()
        return "GPU-" + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    text = str(told) if not isinstance(told, bytes) else ""
    return (text if text.startswith("GPU-") else f"GPU-{text}") if text else f"gpu-{index}"
