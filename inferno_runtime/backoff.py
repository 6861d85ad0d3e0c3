"""Exponential back-off with jitter, as gRPC's connection back-off specifies it.

Source: grpc/grpc doc/connection-backoff.md (multiplier 1.6, jitter 0.2).
"""

from __future__ import annotations

import random


class Backoff:
    """Delays in seconds that grow from ``initial`` to ``maximum``, each spread by ± ``jitter``."""

    def __init__(
        self,
        initial: float,
        maximum: float,
        multiplier: float = 1.6,
        jitter: float = 0.2,
        rng: random.Random | None = None,
    ) -> None:
        self._initial = initial
        self._maximum = maximum
        self._multiplier = multiplier
        self._jitter = jitter
        # Jitter spreads reconnects; it guards no secret.
        self._rng = rng or random.Random()  # noqa: S311
        self._base = initial

    def next(self) -> float:
        """The next delay."""
        base = self._base
        self._base = min(self._maximum, base * self._multiplier)
        return base * self._rng.uniform(1 - self._jitter, 1 + self._jitter)

    def reset(self) -> None:
        """Begin again at ``initial``: call it after a success."""
        self._base = self._initial
