"""What vendors publish for their GPUs: dense peaks, which no program quite reaches. Facts, with their source.

Figures with sparsity, which datasheets print in large, are halved. Memory in GB/s (decimal), products in TFLOP/s, for
int8 in TOP/s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peak:
    """One GPU: a pattern of the name that its driver tells, its figures by the names of
    :class:`inferno_backend.benchmark.results.Figure`, and the publication."""

    pattern: str
    figures: Mapping[str, float]
    source: str


def _peak(
    pattern: str,
    source: str,
    memory: float,
    fp32: float,
    fp16: float,
    *,
    tf32: float = 0,
    int8: float = 0,
    fp8: float = 0,
) -> Peak:
    # Since Ampere bf16 is as fast as fp16, and neither Volta nor Turing has it.
    bf16 = fp16 if tf32 else 0
    named = {"fp32": fp32, "tf32": tf32, "fp16": fp16, "bf16": bf16, "int8": int8, "fp8": fp8}
    products = {f"matmul_{precision}": value for precision, value in named.items() if value}
    return Peak(pattern, {"memory": memory, **products}, source)


_A100 = "NVIDIA A100 datasheet, June 2021"
_H100 = "NVIDIA H100 datasheet, 2023"
PEAKS = (
    _peak(
        "B200", "NVIDIA Blackwell architecture technical brief, 2024", 8000, 80, 2250, tf32=1100, int8=4500, fp8=4500
    ),
    _peak("H200 NVL", "NVIDIA H200 datasheet, 2024", 4800, 60, 835.5, tf32=417.5, int8=1670.5, fp8=1670.5),
    _peak("H200", "NVIDIA H200 datasheet, 2024", 4800, 67, 989.5, tf32=494.5, int8=1979, fp8=1979),
    _peak("H100 PCIe", _H100, 2000, 51, 756, tf32=378, int8=1513, fp8=1513),
    _peak("H100 80GB HBM3", _H100, 3350, 67, 989.5, tf32=494.5, int8=1979, fp8=1979),
    _peak("A100-SXM.*80GB", _A100, 2039, 19.5, 312, tf32=156, int8=624),
    _peak("A100 80GB PCIe", _A100, 1935, 19.5, 312, tf32=156, int8=624),
    _peak("A100.*40GB", _A100, 1555, 19.5, 312, tf32=156, int8=624),
    _peak("L40S", "NVIDIA L40S datasheet, 2023", 864, 91.6, 362.05, tf32=183, int8=733, fp8=733),
    _peak("L4", "NVIDIA L4 datasheet, 2023", 300, 30.3, 121, tf32=60, int8=242.5, fp8=242.5),
    _peak("A10G", "NVIDIA A10G datasheet, 2022", 600, 35, 70, tf32=35, int8=140),
    _peak("A10", "NVIDIA A10 datasheet, 2021", 600, 31.2, 125, tf32=62.5, int8=250),
    _peak("T4", "NVIDIA Turing architecture whitepaper, 2018", 320, 8.1, 65, int8=130),
    _peak("V100-SXM2", "NVIDIA V100 datasheet, 2020", 900, 15.7, 125),
    _peak("V100-PCIE", "NVIDIA V100 datasheet, 2020", 900, 14, 112),
)


def peak(name: str) -> Peak | None:
    """What is published for the GPU of this name; None when it is not known here.

    >>> peak("NVIDIA H100 80GB HBM3").figures["memory"], peak("NVIDIA L4").figures["memory"], peak("NVIDIA L40")
    (3350, 300, None)
    """
    return next((each for each in PEAKS if re.search(rf"(?:^|[\s-]){each.pattern}(?![A-Za-z0-9])", name)), None)
