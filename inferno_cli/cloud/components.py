"""Which processes make up a mesh on this machine, and how each is called. Pure: nothing is started here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from inferno_cli.cloud.folder import DataFolder

LOOPBACK = "127.0.0.1"


class Rank(IntEnum):
    """The order of stopping: nodes finish what they have, then the port closes, then the bill."""

    NODE = 0
    PROXY = 1
    GOVERNATOR = 2


@dataclass(frozen=True, slots=True)
class Component:
    """One process: its name for people and logs, its place in the stopping order, its command line."""

    name: str
    rank: Rank
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Governed:
    """Nodes that the governator starts and stops: as many at first as ``Wanted.nodes``, and never fewer.

    Attributes:
        maximum: Nodes that there may be at most.
        models: Models that they serve.
    """

    maximum: int
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ``inferno up`` was asked for.

    ``own_database`` False leaves the database to the configuration, ``mode`` None what follows from decisions.
    """

    folder: DataFolder
    model_repository: Path
    host: str = LOOPBACK
    port: int = 8080
    nodes: int = 2
    config: Path | None = None
    own_database: bool = True
    mode: str | None = None
    governed: Governed | None = None

    @property
    def governor_config(self) -> Path | None:
        """The governator's settings file: of its own where it has nodes."""
        return self.config if self.governed is None else governed_config(self.folder)

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes there are at first."""
        word = "node" if self.governed is None else "local"
        return tuple(f"{word}-{number}" for number in range(1, self.nodes + 1))

    @property
    def endpoint(self) -> str:
        """Where clients on this machine reach the mesh."""
        host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self.host, self.host)  # noqa: S104 - a comparison
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def governed_config(folder: DataFolder) -> Path:
    """Settings of a governator that has nodes of its own: the user's, and the pool."""
    return folder.of("governator") / "settings.yaml"


def components(wanted: Wanted) -> tuple[Component, ...]:
    """Every process of the mesh, the governator first, then the proxy, then the nodes by number, unless the governator
    has them."""
    folder = wanted.folder
    socket = f"unix:{folder.of('governator') / 'governator.sock'}"
    config = () if wanted.config is None else ("--config", str(wanted.config))
    models = ("--model-repository", str(wanted.model_repository))
    database = ("--db", f"sqlite:///{folder.of('governator') / 'governator.db'}") if wanted.own_database else ()
    rules = () if wanted.governor_config is None else ("--config", str(wanted.governor_config))
    mode = () if wanted.mode is None else ("--mode", wanted.mode)
    local = () if wanted.governed is None else ("--local-dir", str(folder.of("nodes")))
    governator = Component(
        "governator",
        Rank.GOVERNATOR,
        (_program("inferno-governator"), *rules, *database, *mode, *local, "--listen", socket),
    )
    proxy = Component(
        "proxy",
        Rank.PROXY,
        (
            _program("inferno-proxy"),
            *config,
            *("--port", str(wanted.port), "--data-dir", str(folder.of("proxy")), "--governator", socket),
        ),
    )
    nodes = (
        Component(
            name,
            Rank.NODE,
            (
                _program("inferno-backend"),
                *config,
                *("--node-id", name, "--discovery-lb", wanted.endpoint, "--data-dir", str(folder.of(name))),
                *models,
            ),
        )
        for name in (wanted.names if wanted.governed is None else ())
    )
    return (governator, proxy, *nodes)


def _program(name: str) -> str:
    """The console script beside the interpreter that runs us, so that no other environment's is taken."""
    return str(Path(sys.executable).with_name(name))
