"""What can serve and why the rest cannot: a function of the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from inferno_proxy.fleet import FleetView, Member, Model, ModelState, Phase


class Status(StrEnum):
    """Whether requests are answered; mirrors ``inferno.health.v1.ServingStatus``."""

    SERVING = "serving"
    DEGRADED = "degraded"
    NOT_SERVING = "not serving"


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One model over the fleet. ``serving`` and ``others`` are node_ids, sorted; versions are ready somewhere."""

    name: str
    serving: tuple[str, ...]
    others: tuple[str, ...]
    ready_versions: tuple[str, ...]
    stateful: bool
    decoupled: bool
    reason: str = ""

    @property
    def status(self) -> Status:
        """SERVING when every node that has it serves it, DEGRADED when some do."""
        if not self.serving:
            return Status.NOT_SERVING
        return Status.DEGRADED if self.others else Status.SERVING


@dataclass(frozen=True, slots=True)
class Summary:
    """The mesh at one moment: models by name (sorted)."""

    models: Mapping[str, ModelSummary]
    status: Status


def summarize(view: FleetView) -> Summary:
    """Say what the fleet can serve. The mesh serves when any model does; it is degraded when any part is not whole."""
    having: dict[str, list[tuple[Member, Model]]] = {}
    for member in view.members.values():
        for model in member.node.models:
            having.setdefault(model.name, []).append((member, model))
    models = {name: _summarize(name, having[name]) for name in sorted(having)}
    whole = all(one.status is Status.SERVING for one in models.values()) and all(
        member.phase is Phase.SERVING for member in view.members.values()
    )
    if not any(one.serving for one in models.values()):
        status = Status.NOT_SERVING
    else:
        status = Status.SERVING if whole else Status.DEGRADED
    return Summary(MappingProxyType(models), status)


def node_status(member: Member) -> Status:
    """The status of one node: an unmanaged one is degraded, though it takes work."""
    if member.phase is Phase.SERVING:
        return Status.SERVING
    return Status.DEGRADED if member.phase is Phase.UNMANAGED else Status.NOT_SERVING


def _summarize(name: str, having: list[tuple[Member, Model]]) -> ModelSummary:
    serving = [(member, model) for member, model in having if member.takes_work and model.ready]
    names = {member.node.node_id for member, _ in serving}
    others = [(member, model) for member, model in having if member.node.node_id not in names]
    versions = {v.version for _, model in serving for v in model.versions if v.state is ModelState.READY}
    return ModelSummary(
        name=name,
        serving=tuple(sorted(names)),
        others=tuple(sorted(member.node.node_id for member, _ in others)),
        ready_versions=tuple(sorted(versions, key=_numeric)),
        stateful=any(model.stateful for _, model in having),
        decoupled=any(model.decoupled for _, model in having),
        reason=" ".join(sorted({_why(member, model) for member, model in others})),
    )


def _why(member: Member, model: Model) -> str:
    """Why a node does not serve a model, in one sentence."""
    node_id = member.node.node_id
    if not member.takes_work:
        return f"{node_id}: {member.reason}"
    said = next((version.reason for version in model.versions if version.reason), "")
    state = ", ".join(sorted({version.state.value for version in model.versions})) or "not loaded"
    return f"{node_id}: the model is {state}{': ' + said if said else ''}."


def _numeric(version: str) -> tuple[int, str]:
    return (int(version) if version.isdigit() else 0, version)
