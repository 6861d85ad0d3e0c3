"""Scenarios as people write them, in YAML or as flags, read into alternatives of a simulation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from inferno_cli import period
from inferno_governator.simulation.alternatives import Alternative
from inferno_governator.simulation.curves import GridCurve, MeasuredCurve
from inferno_governator.simulation.fleet import Pool
from inferno_governator.simulation.outages import Weather
from inferno_governator.simulation.outcome import Objective
from inferno_runtime import yaml_text
from inferno_runtime.errors import InvalidInput, NotFound

_MICROS = 1_000_000


def _seconds(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        if text.endswith("ms"):
            return float(text[:-2]) / 1000
        try:
            return period.duration(text).total_seconds()
        except InvalidInput as error:
            raise ValueError(error.sentence()) from error
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObjectiveText(_Part):
    """What callers are promised; see ``Objective``."""

    latency: Seconds = 0.0
    first_token: Seconds = 0.0
    share: Share = 0.99


class PoolText(_Part):
    """Nodes of one kind. ``price`` is US dollars an hour for a node; ``nodes`` is how many there are at the begin.

    What a node does is told by a ``profile`` (a grid's file, beside the scenario's), by ``measured`` requests a
    second for each number of requests in flight, or by a ``node`` of the mesh that is like it. Without a price it costs
    what the mesh says of ``offer`` (cloud/region/type), or of that node.
    """

    name: str = "nodes"
    price: Annotated[Decimal, Field(gt=0)] | None = None
    offer: Annotated[str, Field(pattern=r"^[^/]+/[^/]+/[^/]+$")] = ""
    profile: Path | None = None
    gpus: Annotated[int, Field(ge=1)] = 1
    measured: Mapping[int, float] | None = None
    node: str = ""
    boot: Seconds = 600.0
    nodes: Annotated[int, Field(ge=0)] = 1
    minimum: Annotated[int, Field(ge=0)] = 0
    maximum: Annotated[int, Field(ge=0)] | None = None
    spot: bool = False
    zone: str = ""
    network: Seconds = 0.0

    @model_validator(mode="after")
    def _one_curve(self) -> PoolText:
        if (self.profile is not None) + (self.measured is not None) + bool(self.node) != 1:
            raise ValueError(
                "give one of profile, a file with a grid; measured, requests a second by concurrency; node, of the mesh"
            )
        return self


class SpotText(_Part):
    """How zones lose spot machines; see ``Weather``."""

    per_day: Annotated[float, Field(ge=0)] = 2.0
    mean: Seconds = 3600.0
    together: Share = 0.3
    spread: Share = 0.7


class AlternativeText(_Part):
    """One fleet under one policy."""

    name: str
    pools: Annotated[tuple[PoolText, ...], Field(min_length=1)]
    policy: str = "fixed"
    target: Annotated[float, Field(ge=0)] = 0.0
    spot_losses: SpotText | None = None


class RecordedText(_Part):
    """The demand for a model as the governator recorded it, from ``since`` ago until now."""

    model: str
    since: Annotated[Seconds, Field(gt=0)] = 86_400.0


class Scenario(_Part):
    """A whole file: what came, what was promised, and what could have served it."""

    trace: Path | None = None
    recorded: RecordedText | None = None
    alternatives: Annotated[tuple[AlternativeText, ...], Field(min_length=1)]
    objective: ObjectiveText = ObjectiveText()
    seed: Annotated[int, Field(ge=0)] = 1
    patience: Seconds = 60.0
    decide: Annotated[Seconds, Field(ge=1)] = 60.0

    @model_validator(mode="after")
    def _one_demand(self) -> Scenario:
        if (self.trace is None) == (self.recorded is None):
            raise ValueError("give either trace, a file, or recorded, a model of the mesh")
        return self


def read(file: Path) -> Scenario:
    """A scenario's file; paths in it are beside it.

    Raises:
        NotFound: It cannot be read.
        InvalidInput: It is no scenario; the line is named.
    """
    try:
        document = yaml_text.parse(file.read_bytes(), file)
    except OSError as error:
        raise NotFound(
            f"The scenario {file} cannot be read: {error.strerror}.",
            reason="NO_SCENARIO",
            fix="Name a file that is there.",
        ) from error
    return check(document, file)


def check(document: object, where: object) -> Scenario:
    """A scenario from a document.

    Raises:
        InvalidInput: It is none; what is wrong, and the line where the document has lines, is named.
    """
    try:
        return Scenario.model_validate(yaml_text.plain(document))
    except ValidationError as error:
        first = error.errors()[0]
        names = [str(each) for each in first["loc"]]
        line = _line(document, first["loc"])
        raise InvalidInput(
            f"{where}{f':{line}' if line else ''}: {'.'.join(names) or 'the scenario'}: "
            f"{first['msg'].removeprefix('Value error, ')}.",
            reason="BAD_SCENARIO",
            fix="docs/simulate.md shows a whole scenario.",
        ) from error


def _line(document: Any, path: Sequence[int | str]) -> int:
    """The line of the innermost container or key of a path that the document has; 0 when it tells no lines."""
    line = 0
    for key in path:
        lines = getattr(document, "lc", None)
        if lines is None:
            break
        known = isinstance(document, list) and isinstance(key, int) and key < len(document)
        if not known and not (isinstance(document, Mapping) and key in document):
            return line or lines.line + 1
        line = (lines.item(key) if isinstance(document, list) else lines.key(key))[0] + 1
        document = document[key]
    return line


def alternatives(scenario: Scenario, folder: Path) -> list[Alternative]:
    """What a scenario compares; profiles are looked for in the folder.

    Raises:
        NotFound: A profile cannot be read.
        InvalidInput: A profile or curve is none, or only a mesh would know the node or the price.
    """
    promised = Objective(scenario.objective.latency, scenario.objective.first_token, scenario.objective.share)
    return [
        Alternative(
            each.name,
            tuple(_pool(pool, folder) for pool in each.pools),
            each.policy,
            each.target,
            _weather(each.spot_losses),
            promised,
            scenario.patience,
            scenario.decide,
        )
        for each in scenario.alternatives
    ]


def _weather(spot: SpotText | None) -> Weather | None:
    return Weather(spot.per_day, spot.mean, spot.together, spot.spread) if spot else None


def most(pool: PoolText) -> int:
    """Nodes that a pool may have."""
    return max(pool.nodes, 100) if pool.maximum is None else pool.maximum


def _pool(pool: PoolText, folder: Path) -> Pool:
    made = curve(pool, folder)
    if made is None or pool.price is None:
        raise InvalidInput(
            f"The pool {pool.name!r} has {'no price' if made else 'only the name of a node'}, and a trace of a file is "
            "replayed without a mesh that would know more.",
            reason="BAD_SCENARIO",
            fix="Give price, and profile or measured; inferno price ls and inferno capacity show them.",
        )
    return Pool(
        name=pool.name,
        curve=made,
        micros_per_hour=int(pool.price * _MICROS),
        boot_seconds=pool.boot,
        begin=pool.nodes,
        minimum=min(pool.minimum, pool.nodes),
        maximum=most(pool),
        spot=pool.spot,
        zone=pool.zone,
        network_seconds=pool.network,
    )


def curve(pool: PoolText, folder: Path) -> GridCurve | MeasuredCurve | None:
    """What a node does, from the scenario and files beside it; None where a node of the mesh says it.

    Raises:
        NotFound: The profile cannot be read.
        InvalidInput: The profile or curve is none.
    """
    if pool.node:
        return None
    if pool.measured is not None:
        return MeasuredCurve.of(pool.measured)
    file = folder / (pool.profile or "")
    try:
        return GridCurve.of(json.loads(file.read_bytes()), pool.gpus)
    except OSError as error:
        raise NotFound(
            f"The profile {file} cannot be read: {error.strerror}.",
            reason="NO_PROFILE",
            fix="Name a file that is there, beside the scenario.",
        ) from error
    except (ValueError, AttributeError) as error:
        raise InvalidInput(
            f"The profile {file} is no grid in JSON.",
            reason="BAD_GRID",
            fix='Write {"input,output": [requests/s, batch, TTFT ms, TPOT ms], ...}.',
        ) from error


def choose(
    file: Path | None, trace: Path | None, flags: Sequence[str], objective: Mapping[str, str], seed: int | None
) -> tuple[Scenario, Path]:
    """A scenario of a file or of flags, and the folder beside which its files are.

    A flag's alternative is ``key=value,...`` with the keys of a pool, and ``name``, ``policy`` and ``target``.

    Raises:
        NotFound: The file cannot be read.
        InvalidInput: There is neither file nor flags, or both, or they cannot be.
    """
    if (file is None) != bool(trace and flags) or (file and (trace or flags or objective)):
        raise InvalidInput(
            "Either a scenario's file or --trace with at least one --alternative says what to simulate.",
            reason="BAD_SCENARIO",
            fix="Give inferno simulate scenario.yaml, or the two flags; an objective's flags go with those.",
        )
    if file:
        found = read(file)
        return (found.model_copy(update={"seed": seed}) if seed is not None else found), file.parent
    documents: list[dict[str, object]] = []
    for text in flags:
        pool = dict(map(_pair, text.split(",")))
        document: dict[str, object] = {"name": pool.pop("name", text), "pools": (pool,)}
        for key in ("policy", "target"):
            if key in pool:
                document[key] = pool.pop(key)
        documents.append(document)
    whole: dict[str, object] = {"trace": str(trace), "alternatives": tuple(documents), "objective": dict(objective)}
    if seed is not None:
        whole["seed"] = seed
    return check(whole, "--alternative"), Path()


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(
            f"{text!r} in --alternative is no key=value.",
            reason="BAD_FLAG",
            fix="Write name=small,price=1.86,profile=grid_l40s.json,nodes=4,policy=hpa.",
        )
    return key.strip(), value.strip()
