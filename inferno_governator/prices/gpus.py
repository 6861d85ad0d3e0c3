"""GPUs that are rented out, and between which prices one of them can be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inferno_governator.prices.offers import Kind


@dataclass(frozen=True, slots=True)
class Gpu:
    """A family of GPUs.

    ``low`` and ``high`` bound the price of one, on demand, in micro-dollars an hour: about two thirds of the lowest and
    one and a half times the highest that the bundled catalogue has, rounded. They catch what is no price of a GPU: a
    host without its GPUs, cents taken for dollars, a placeholder. ``pattern`` finds the family in the name that the
    driver gives.
    """

    name: str
    low: int
    high: int
    pattern: str

    def floor(self, kind: Kind) -> int:
        """The least that one can cost. Spot prices go down to a tenth of what is asked on demand."""
        return self.low // 4 if kind is Kind.SPOT else self.low


def _gpu(name: str, low: float, high: float, pattern: str = "") -> Gpu:
    return Gpu(name, round(low * 1_000_000), round(high * 1_000_000), pattern or rf"\b{re.escape(name)}\b")


# In the order in which a driver's name is looked at: the longer name first.
GPUS = (
    _gpu("GB300", 6, 70),
    _gpu("GB200", 6, 60),
    _gpu("GH200", 1.5, 15),
    _gpu("B300", 4, 35),
    _gpu("B200", 3.5, 30),
    _gpu("H200", 2.2, 30),
    _gpu("H100", 1.6, 30),
    _gpu("A100", 1, 12),
    _gpu("V100", 0.4, 6),
    _gpu("L40S", 0.5, 12),
    _gpu("L40", 0.5, 6),
    _gpu("L4", 0.3, 8),
    _gpu("A10G", 0.4, 8),
    _gpu("A10", 0.4, 8),
    _gpu("T4", 0.15, 8),
    _gpu("RTX PRO 6000", 0.8, 16),
    _gpu("RTX A6000", 0.25, 4),
    _gpu("RTX A4000", 0.08, 2),
    _gpu("RTX 4090", 0.2, 3),
    _gpu("Quadro RTX 6000", 0.3, 3),
    _gpu("MI300X", 1.5, 20, r"MI300X"),
)
_BY_NAME = {gpu.name.lower(): gpu for gpu in GPUS}


def known(name: str) -> Gpu | None:
    """The family of this very name, in any case."""
    return _BY_NAME.get(name.strip().lower())


def of_device(name: str) -> Gpu | None:
    """The family of a GPU by the name its driver gives, or None.

    >>> of_device("NVIDIA H100 80GB HBM3").name, of_device("NVIDIA L40S").name, of_device("Tesla T4").name
    ('H100', 'L40S', 'T4')
    >>> of_device("NVIDIA A100-SXM4-80GB").name, of_device("cpu")
    ('A100', None)
    """
    return next((gpu for gpu in GPUS if re.search(gpu.pattern, name, re.IGNORECASE)), None)
