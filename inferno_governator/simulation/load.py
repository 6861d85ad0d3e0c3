"""What goes through the nodes of a replay, whether request by request or as a fluid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from inferno_governator.simulation.trace import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What was seen since the last look.

    Attributes:
        rate: Requests a second that came.
        queued: Requests that wait in nodes now.
        latency: Seconds that requests took which ended, any shape; ``weight`` says how many each stands for.
        first: Seconds to their first tokens, of the same shape.
    """

    rate: float
    queued: float
    latency: Floats
    first: Floats
    weight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What became of all requests.

    Attributes:
        at: When requests came, in seconds; shape (samples,).
        latency: Seconds from arrival to the last token; not a number for what was not served. As ``at``.
        first: Seconds from arrival to the first token. As ``at``.
        weight: Requests that each sample stands for. As ``at``.
        requests: All that came.
        retried: Those that began anew because their node was lost.
        by_kind: Requests that were served, by the place of their node's pool.
    """

    at: Floats
    latency: Floats
    first: Floats
    weight: Floats
    requests: float
    retried: float
    by_kind: tuple[float, ...]


class Loads(ABC):
    """Demand on its way through nodes. Times are seconds of the trace and never go back."""

    @abstractmethod
    def add(self, name: str, kind: int, weight: float, at: float) -> None:
        """A node serves from now on; ``kind`` is the place of its pool, ``weight`` what it can do beside the others."""

    @abstractmethod
    def drain(self, name: str, at: float) -> None:
        """A node gets nothing new; once it is empty ``advance`` says so."""

    @abstractmethod
    def lose(self, name: str, at: float) -> None:
        """A node is gone; what was on it goes to the others."""

    @abstractmethod
    def advance(self, until: float) -> list[tuple[str, float]]:
        """Let time pass; returns the drained nodes that became empty, and when."""

    @abstractmethod
    def running(self, name: str) -> float:
        """Requests on a node now, queued ones included."""

    @abstractmethod
    def given(self, name: str) -> float:
        """Requests that a node got since ``begin_window``."""

    @abstractmethod
    def window(self, at: float) -> Window:
        """What was seen since the last call, or the begin."""

    @abstractmethod
    def begin_window(self) -> None:
        """Count what nodes are given from zero again."""

    @abstractmethod
    def served(self) -> Served:
        """What became of all."""
