"""A Triton of our own under its guard (:mod:`inferno_backend.guarded`): its ports, and whether it has served.

``served.json`` beside the guard's files is written when it first serves.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from inferno_backend import guarded
from inferno_backend.guarded import Command, GuardedProcess, Terms
from inferno_backend.node import Endpoints
from inferno_backend.triton.command import Ports


@dataclass(frozen=True, slots=True)
class Place(guarded.Place):
    """Where a node keeps what its Triton needs and leaves."""

    @property
    def served(self) -> Path:
        """Names the last Triton that was seen to serve."""
        return self.folder / "served.json"

    @property
    def backends(self) -> Path:
        """Our copy of the backends."""
        return self.folder / "backends"


class TritonProcess(GuardedProcess):
    """One life of a Triton. ``pid`` is Triton's own."""

    @classmethod
    async def launch(cls, command: Command, place: Place, terms: Terms, ports: Ports) -> Self:
        """Start Triton under a new guard; ``ports`` are where it will listen.

        Raises:
            Unavailable: The guard did not start.
        """
        return await cls.begin(command, place, terms, {"ports": asdict(ports)})

    @property
    def ports(self) -> Ports:
        """Where it listens."""
        return Ports(**self.facts["ports"])

    @property
    def endpoints(self) -> Endpoints:
        """Where this machine reaches it."""
        return endpoints_of(self.ports)

    def note_service(self) -> None:
        """Remember that this Triton has served, for an agent that will adopt it."""
        self._served.write_text(json.dumps({"pid": self.pid, "start": self._start}), encoding="utf-8")

    def has_served(self) -> bool:
        """True when an agent has seen this Triton serve."""
        return guarded.read(self._served) == {"pid": self.pid, "start": self._start}

    @property
    def _served(self) -> Path:
        return Place(self._place.folder).served


def endpoints_of(ports: Ports) -> Endpoints:
    """Where this machine reaches a Triton on these ports."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ports.host, ports.host)  # noqa: S104 - compared, not bound
    host = f"[{host}]" if ":" in host else host
    return Endpoints(f"{host}:{ports.grpc}", f"{host}:{ports.http}", f"{host}:{ports.metrics}")


def fingerprint(command: Command) -> str:
    """What tells whether a running Triton was started with the same things, whichever ports it got."""
    kept = [word for word in command.argv if not word.startswith(("--grpc-port", "--http-port", "--metrics-port"))]
    kept = [word for word in kept if "shm-region-prefix-name" not in word]
    return hashlib.sha256("\0".join(kept).encode()).hexdigest()
