"""What the CPUs can do, measured with numpy in a process of its own.

::

    OPENBLAS_NUM_THREADS=4 python -m inferno_backend.benchmark.cpu --threads 4 --seconds 0.5

How many threads numpy's linear algebra uses is decided when it is loaded, so each count takes a process. It prints one
JSON object: for each figure its value and spread (see :func:`inferno_backend.benchmark.tries.rate`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from inferno_backend.benchmark.results import Figure
from inferno_backend.benchmark.tries import rate, timed
from inferno_runtime.errors import Broken

# Larger than the last level of cache of today's servers, so that memory is measured and not a cache.
_BYTES = 256 << 20
_MATRIX = 1024
_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


async def measure(name: str, threads: int, seconds: float, memory_bytes: int = _BYTES) -> tuple[Figure, ...]:
    """The figures of the CPUs with one thread and with ``threads``.

    Args:
        name: The processor's name.
        threads: How many CPUs this process may use.
        seconds: How long each figure is measured.
        memory_bytes: Size of all arrays of the memory test together.

    Raises:
        Broken: The measuring process failed.
    """
    figures: list[Figure] = []
    for count in sorted({1, threads}):
        argv = [sys.executable, "-m", "inferno_backend.benchmark.cpu", "--threads", str(count)]
        argv += ["--seconds", str(seconds), "--bytes", str(memory_bytes)]
        child = await asyncio.create_subprocess_exec(
            *argv,
            env={**os.environ, **dict.fromkeys(_VARIABLES, str(count))},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, said = await child.communicate()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            raise Broken(f"Measuring the CPUs failed: {last}.", reason="CPU_BENCHMARK_FAILED")
        document = json.loads(out)
        for figure, (value, spread, unit) in document["figures"].items():
            figures.append(Figure("cpu", name, f"{figure}_{count}", value, unit, spread, document["library"]))
    return tuple(figures)


def figures(threads: int, seconds: float, memory_bytes: int) -> Mapping[str, tuple[float, float, str]]:
    """Value, spread and unit of each figure, in this process."""
    import numpy as np

    found: dict[str, tuple[float, float, str]] = {}
    rows = memory_bytes // (3 * 8 * threads)
    arrays = [tuple(np.ones(rows) for _ in range(3)) for _ in range(threads)]

    def triad(at: int) -> None:
        # a = b + s * c in two sweeps. Counted as STREAM does: what is read and written, without write-allocation.
        a, b, c = arrays[at]
        np.multiply(c, 3.0, out=a)
        np.add(a, b, out=a)

    with ThreadPoolExecutor(threads) as pool:

        def sweep() -> float:
            return _seconds(lambda: list(pool.map(triad, range(threads))))

        found["memory"] = (*rate(timed(sweep, seconds), 5 * 8 * rows * threads / 1e9), "GB/s")
    for name, kind in (("fp32", np.float32), ("fp64", np.float64)):
        left, right = (np.ones((_MATRIX, _MATRIX), kind) for _ in range(2))
        out = np.empty_like(left)

        def multiply(left: object = left, right: object = right, out: object = out) -> float:
            return _seconds(lambda: np.matmul(left, right, out=out))  # type: ignore[call-overload]

        found[f"matmul_{name}"] = (*rate(timed(multiply, seconds), 2 * _MATRIX**3 / 1e12), "TFLOP/s")
    return found


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    import numpy as np

    parser = argparse.ArgumentParser(description="Measure the CPUs with numpy.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--bytes", type=int, default=_BYTES)
    given = parser.parse_args()
    found = figures(given.threads, given.seconds, given.bytes)
    sys.stdout.write(json.dumps({"library": f"numpy {np.__version__}", "figures": found}) + "\n")


if __name__ == "__main__":
    main()
