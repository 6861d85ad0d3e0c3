"""A simulated fleet: servers that execute one call at a time and let the others wait in line."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from inferno_proxy.feedback.limits import Admission, Limits
from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import Address


@dataclass
class Fleet:
    """Each of ``servers`` takes ``work`` seconds for a call; calls go where fewest are. Every 0.5 s the data plane
    reports to ``limits``, whose limit it keeps."""

    limits: Limits
    servers: int = 3
    work: float = 0.05
    admissions: Mapping[str, Admission] = field(default_factory=lambda: {"m": Admission(1.0, 6)})
    now: float = 0.0
    refused: int = 0
    answered: int = 0
    acts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free = [0.0] * self.servers
        self._under_way: list[tuple[float, int, float]] = []
        self._ended = [0] * self.servers
        self._held = [0] * self.servers
        self._tries: list[Try] = []
        self._report_at = 0.5

    def run(self, rate: float, seconds: float) -> None:
        """Calls at this rate."""
        until, due = self.now + seconds, self.now
        while due < until:
            self._advance(due)
            if sum(self._held) >= self.limits.limits.get("m", 1_000_000):
                self.refused += 1
            else:
                server = min(range(self.servers), key=lambda index: self._held[index])
                self._free[server] = max(self._free[server], due) + self.work
                self._held[server] += 1
                heapq.heappush(self._under_way, (self._free[server], server, due))
            due += 1 / rate
        self._advance(until)

    def _advance(self, to: float) -> None:
        while min(self._report_at, self._under_way[0][0] if self._under_way else self._report_at) <= to:
            if self._under_way and self._under_way[0][0] <= self._report_at:
                ends, server, began = heapq.heappop(self._under_way)
                self._held[server] -= 1
                self._ended[server] += 1
                self.answered += 1
                self._tries.append(Try("m", _address(server), Outcome.ANSWERED, ends - began, ends))
                continue
            counts = [
                Counts("envoy", "m", _address(index), ended, ended, 0, held, 0.5, self._report_at)
                for index, (ended, held) in enumerate(zip(self._ended, self._held, strict=True))
            ]
            self.acts += (a.kind for a in self.limits.judge(self._tries, counts, self.admissions, self._report_at))
            self._tries, self._ended = [], [0] * self.servers
            self._report_at += 0.5
        self.now = to


def _address(server: int) -> Address:
    return Address("10.0.0.1", server + 1)
