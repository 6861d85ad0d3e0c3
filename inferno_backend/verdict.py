"""What the agent makes of all it knows of its Triton: one node state. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_backend.hardware.placement import taken_out
from inferno_backend.node import NOWHERE, Condition, Endpoints, Model, ModelState, ModelVersion, NodeState

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known.

    Attributes:
        endpoints: Where Triton answers.
        server_version: Its version.
        answered: True once it has answered for the first time in the agent's life.
        down: Why it can take no work; empty when it can.
        shut: Why nobody reaches it; empty when the mesh does.
        draining: Why it shall take no new work; empty when it shall.
        reclaimed: Why its machine goes away soon; empty when it stays.
        expired: Why its peers let no new connection pass; empty while its certificate is valid.
        models: Its models, as it says.
        dead: Models whose process has died, with the reason.
        losses: How often that has happened to each model so far.
        stalled: Models whose work does not move, with the reason.
        withdrawn: Models that are about to be unloaded.
        loads: How often each model was loaded on request, well or not.
        failures: Models whose last load on request failed, with the reason. What was loaded before serves on.
        uncached: Models that serve and whose answers are not kept, though that is wanted, with the reason.
        gpus: UUIDs of the GPUs Triton sees, in its order.
        faulty: Those that can do no work, with the reason.
    """

    endpoints: Endpoints = NOWHERE
    server_version: str = ""
    answered: bool = False
    down: str = ""
    shut: str = ""
    draining: str = ""
    reclaimed: str = ""
    expired: str = ""
    models: tuple[Model, ...] = ()
    dead: Mapping[str, str] = field(default_factory=lambda: _NONE)
    losses: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    stalled: Mapping[str, str] = field(default_factory=lambda: _NONE)
    withdrawn: frozenset[str] = frozenset()
    loads: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[str, str] = field(default_factory=lambda: _NONE)
    uncached: Mapping[str, str] = field(default_factory=lambda: _NONE)
    gpus: tuple[str, ...] = ()
    faulty: Mapping[str, str] = field(default_factory=lambda: _NONE)


def state_of(facts: Facts) -> NodeState:
    """The node state that these facts amount to: a dead server outweighs a drain."""
    broken, out = taken_out(facts.models, facts.gpus, facts.faulty)
    if not facts.answered:
        condition, reason = Condition.STARTING, facts.down
    elif facts.down or facts.shut or broken:
        condition, reason = Condition.FAILED, facts.down or facts.shut or broken
    elif reason := facts.reclaimed or facts.draining or facts.expired:
        # Calls on connections that are there still pass.
        condition = Condition.DRAINING
    else:
        condition, reason = Condition.SERVING, ""
    # A model that nobody has heard of but whoever asked for it: the answer has to name it.
    unheard = facts.failures.keys() - {one.name for one in facts.models}
    asked = (Model(name, (ModelVersion("", ModelState.UNAVAILABLE, facts.failures[name]),)) for name in sorted(unheard))
    models = tuple(
        replace(_model(one, facts, out), lost_processes=facts.losses.get(one.name, 0))
        for one in (*facts.models, *asked)
    )
    return NodeState(condition, reason, facts.endpoints, models, facts.server_version)


def _model(model: Model, facts: Facts, out: Mapping[str, str]) -> Model:
    """The model as it is told, with what became of the requests to load it."""
    loads, failure = 1 + facts.loads.get(model.name, 0), facts.failures.get(model.name, "")
    return replace(_judged(model, facts, out), loads=loads, load_failure=failure)


def _judged(model: Model, facts: Facts, out: Mapping[str, str]) -> Model:
    if model.name in facts.withdrawn:
        return _instead(model, ModelState.UNLOADING, "It is being unloaded on request.")
    if model.name in out:
        return _instead(model, ModelState.UNAVAILABLE, out[model.name])
    if model.name in facts.dead:
        return _dead(model, facts.dead[model.name])
    if model.name in facts.stalled:
        return _instead(model, ModelState.UNAVAILABLE, facts.stalled[model.name])
    if failure := facts.failures.get(model.name):
        before = f"It serves as it was loaded before. To load it again failed: {failure}"
        return _instead(model, ModelState.READY, before)
    if model.name in facts.uncached:
        return _instead(model, ModelState.READY, facts.uncached[model.name])
    return model


def _instead(model: Model, state: ModelState, reason: str) -> Model:
    """The model with its ready versions in another state."""
    versions = tuple(
        ModelVersion(one.version, state, reason) if one.state is ModelState.READY else one for one in model.versions
    )
    return replace(model, versions=versions)


def _dead(model: Model, reason: str) -> Model:
    """The model, none of whose versions serves: what Triton says while it loads it again tells nothing of why."""
    withdrawn = _instead(model, ModelState.UNAVAILABLE, reason)
    return replace(withdrawn, versions=tuple(replace(one, reason=reason) for one in withdrawn.versions))
