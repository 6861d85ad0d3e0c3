"""The server- and repository-level half of the Open Inference Protocol, answered for the whole fleet.

gRPC (:mod:`inferno_proxy.services.inference_service`) and REST (:mod:`inferno_proxy.services.rest`) both ask here;
messages are those of the protocol, and what goes wrong is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from tritonclient.grpc import service_pb2

from inferno_proxy.audit import AuditLog
from inferno_proxy.errors import unknown_model
from inferno_proxy.fleet import FleetView, Member, ModelState
from inferno_proxy.identity.membership import Membership
from inferno_proxy.registry.registry import Registry
from inferno_proxy.routing.aliases import Aliases, in_force, no_aliases, stands_for
from inferno_proxy.services.health import Status, summarize
from inferno_proxy.services.servers import ask
from inferno_proxy.services.statistics import add_up
from inferno_runtime.errors import Denied, InfernoError, NotFound, TimedOut, Unavailable, Unsupported
from inferno_runtime.identity.caller import Caller
from inferno_runtime.latest import Latest

NAME = "inferno"
# What works through the mesh, in Triton's own words. Shared memory, trace and log settings belong to one node.
EXTENSIONS = (
    "classification",
    "sequence",
    "model_repository",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)
# One slow node must not keep everybody's statistics.
_NODE_ANSWERS_WITHIN = 2.0
_CONTROL_WITHIN = 60.0

# Messages of tritonclient's stubs, which carry no types.
Message = Any


@dataclass(frozen=True, slots=True)
class Statistics:
    """The sum, and the node_ids whose numbers are missing in it."""

    response: Message
    missing: tuple[str, ...]


class FleetInference:
    """Answers for the fleet. ``version`` is Inferno's own; nodes are asked as ``proxy``. Callers are told of the
    fleet less what operators hold back, where ``offered`` is given."""

    def __init__(
        self,
        registry: Registry,
        version: str,
        *,
        allow_model_control: bool,
        audit: AuditLog,
        aliases: Aliases = no_aliases,
        proxy: Membership | None = None,
        offered: Latest[FleetView] | None = None,
    ) -> None:
        self._registry = registry
        self._version = version
        self._allow_model_control = allow_model_control
        self._audit = audit
        self._aliases = aliases
        self._proxy = proxy
        self._offered = offered or registry.view

    @property
    def ready(self) -> bool:
        """True when some node can serve some model."""
        return summarize(self._offered.value).status is not Status.NOT_SERVING

    def metadata(self) -> Message:
        """ServerMetadata of the mesh."""
        return service_pb2.ServerMetadataResponse(name=NAME, version=self._version, extensions=EXTENSIONS)

    def index(self, *, only_ready: bool) -> Message:
        """RepositoryIndex: every version of every model; READY when a node that takes work has it ready.

        An alias is listed like the model it stands for, with the one version it names if it does.
        """
        entries: dict[tuple[str, str], tuple[str, str]] = {}
        for member in self._offered.value.members.values():
            for model in member.node.models:
                for version in model.versions:
                    key = (model.name, version.version)
                    state, reason = version.state, version.reason
                    if state is ModelState.READY and not member.takes_work:
                        state, reason = ModelState.UNAVAILABLE, member.reason
                    entry = (state.name, reason)
                    entries[key] = max(entries.get(key, entry), entry, key=lambda e: _STRENGTH[e[0]])
        for name, alias in in_force(self._aliases(), {model for model, _ in entries}).items():
            versions = {version: entry for (model, version), entry in entries.items() if model == alias.model}
            entries |= {(name, v): entry for v, entry in versions.items() if alias.version in ("", v)}
        return service_pb2.RepositoryIndexResponse(
            models=[
                service_pb2.RepositoryIndexResponse.ModelIndex(name=name, version=version, state=state, reason=reason)
                for (name, version), (state, reason) in sorted(entries.items())
                if state == "READY" or not only_ready
            ]
        )

    async def statistics(self, model: str, version: str, within: float | None = None) -> Statistics:
        """ModelStatistics added up over the nodes that have the model ready; an empty name means all models.

        Raises:
            NotFound: No node has the model, or none that version.
            Unavailable: No node answered.
        """
        view = self._registry.view.value
        meant = stands_for(model, self._aliases(), summarize(view).models)
        model, version = meant.model, version or meant.version
        members = [m for m in view.members.values() if m.takes_work and (not model or _serves(m, model))]
        if model and not members:
            self.refuse_model(model)
        timeout = min(_NODE_ANSWERS_WITHIN, within or _NODE_ANSWERS_WITHIN)
        request = service_pb2.ModelStatisticsRequest(name=model, version=version)
        answers = await ask(members, lambda stub: stub.ModelStatistics(request, timeout=timeout), self._proxy)
        if answers.failed and not answers.given:
            raise _worst(answers.failed)
        missing = [name for name, error in answers.failed.items() if not isinstance(error, NotFound)]
        return Statistics(add_up(answers.given.values()), tuple(sorted(missing)))

    async def load(
        self, model: str, parameters: Mapping[str, object], caller: Caller, within: float | None = None
    ) -> None:
        """Have every agent load a model, anew where it is loaded; returns once each has it or says why not; one has it.

        Raises:
            Denied: The operator does not allow it.
            Unsupported: The call carries parameters.
            Unavailable: No agent is there, no node could load it, or some that have it could not load it anew; the
                server's reason is in the sentence.
            TimedOut: Neither happened in time.
        """
        with self._noting(caller, "LOAD_MODEL", model):
            await self._load(model, parameters, caller, within)

    async def _load(self, model: str, parameters: Mapping[str, object], caller: Caller, within: float | None) -> None:
        self._allowed("load", model, parameters)
        before = self._registry.view.value.members
        self._audit.write(caller, "LOAD_MODEL", model)
        asked = self._registry.want_model(model, loaded=True)
        if not asked:
            raise Unavailable(
                f"No node with an agent is there to load {model!r}.",
                reason="NO_AGENT",
                fix="Start a node with inferno backend.",
            )

        def settled(view: FleetView) -> bool:
            return all(
                name not in view.members or _has_loaded(view.members[name], model, before.get(name)) for name in asked
            )

        view = await self._until(settled, within, f"{model!r} was not loaded on every node")
        members = [view.members[name] for name in asked if name in view.members]
        if not any(_serves(member, model) for member in members):
            reasons = "; ".join(f"{m.node.node_id}: {_load_failure(m, model) or _refusal(m, model)}" for m in members)
            raise Unavailable(
                f"No node could load {model!r} ({reasons}).",
                reason="LOAD_FAILED",
                fix="Mend the model in the nodes' repositories.",
                metadata={"model": model},
            )
        behind = {m.node.node_id: why for m in members if (why := _load_failure(m, model)) and _serves(m, model)}
        if behind:
            reasons = "; ".join(f"{name}: {why}" for name, why in behind.items())
            raise Unavailable(
                f"{model!r} could not be loaded anew on {len(behind)} of {len(members)} nodes; they serve it as it was "
                f"({reasons}).",
                reason="LOAD_FAILED",
                fix="Mend the model in these nodes' repositories.",
                metadata={"model": model},
            )

    async def unload(
        self, model: str, parameters: Mapping[str, object], caller: Caller, within: float | None = None
    ) -> None:
        """Have every agent withdraw and unload a model; returns once no node has it.

        Raises:
            Denied: The operator does not allow it.
            NotFound: No node has it.
            Unsupported: The call carries parameters, or a node without an agent serves it.
            TimedOut: A node still had it at the deadline.
        """
        with self._noting(caller, "UNLOAD_MODEL", model):
            await self._unload(model, parameters, caller, within)

    async def _unload(self, model: str, parameters: Mapping[str, object], caller: Caller, within: float | None) -> None:
        self._allowed("unload", model, parameters)
        view = self._registry.view.value
        if model not in summarize(view).models:
            raise unknown_model(model, summarize(view).models)
        unattended = {node.node_id for node, _ in self._registry.unattended()}
        alone = sorted(name for name in unattended if _serves(view.members[name], model))
        if alone:
            raise Unsupported(
                f"Nodes without an agent serve {model!r} and cannot be told to unload it: {', '.join(alone)}.",
                reason="NO_AGENT",
                fix="Unload it on those servers directly.",
            )
        self._audit.write(caller, "UNLOAD_MODEL", model)
        asked = self._registry.want_model(model, loaded=False)

        def gone(view: FleetView) -> bool:
            return not any(name in view.members and _holds(view.members[name], model) for name in asked)

        await self._until(gone, within, f"{model!r} was not unloaded on every node")

    def refuse_model(self, model: str) -> NoReturn:
        """Say why a call for one model ended here instead of on a node.

        Raises:
            NotFound: No node has the model.
            Unavailable: Nodes have it and none serves it now.
        """
        summary = summarize(self._offered.value)
        model = stands_for(model, self._aliases(), summary.models).model
        if model not in summary.models:
            raise unknown_model(model, summary.models)
        why = summary.models[model].reason or "its nodes have just come; call again"
        raise Unavailable(f"No node serves {model!r} now: {why}", reason="MODEL_NOT_SERVED", retry_after=1)

    @contextmanager
    def _noting(self, caller: Caller, act: str, model: str) -> Iterator[None]:
        """Note what is refused, or fails, of an act."""
        try:
            yield
        except InfernoError as error:
            self._audit.refused(caller, act, model, error)
            raise

    def _allowed(self, what: str, model: str, parameters: Mapping[str, object]) -> None:
        if not self._allow_model_control:
            raise Denied(
                f"This mesh does not {what} models over its public port: loading a model runs code.",
                reason="MODEL_CONTROL_OFF",
                fix="Start the proxy with --allow-model-control (setting proxy.allow_model_control).",
                metadata={"model": model},
            )
        if parameters:
            raise Unsupported(
                f"To {what} a model with parameters ({', '.join(sorted(parameters))}) is not supported over the fleet.",
                reason="MODEL_PARAMETERS",
                fix="Change the model in the nodes' repositories instead.",
            )

    async def _until(self, predicate: Callable[[FleetView], bool], within: float | None, what: str) -> FleetView:
        seconds = min(_CONTROL_WITHIN, within or _CONTROL_WITHIN)
        try:
            # The caller's own deadline cuts the call off without a word; ours comes a moment before it.
            async with asyncio.timeout(seconds * 0.95):
                return await self._registry.view.wait_for(predicate)
        except TimeoutError:
            raise TimedOut(
                f"{what} within {seconds:g} s.", reason="MODEL_CONTROL_TIMEOUT", fix="See: inferno status."
            ) from None


_STRENGTH = {"READY": 4, "LOADING": 3, "UNLOADING": 2, "UNAVAILABLE": 1}


def _serves(member: Member, model: str) -> bool:
    return member.takes_work and any(m.name == model and m.ready for m in member.node.models)


def _holds(member: Member, model: str) -> bool:
    states = {v.state for m in member.node.models if m.name == model for v in m.versions}
    return bool(states - {ModelState.UNAVAILABLE})


def _has_loaded(member: Member, model: str, before: Member | None) -> bool:
    """True when a node has done what it was asked to when it was as ``before``: by its agent's count, if it counts."""
    same_life = before is not None and before.node.incarnation == member.node.incarnation
    if same_life and before is not None and (counted := _loads(before, model)):
        return _loads(member, model) > counted
    newer = before is None or member.node.revision > before.node.revision or not same_life
    return _serves(member, model) or (newer and _refusal(member, model) != "")


def _loads(member: Member, model: str) -> int:
    return next((one.loads for one in member.node.models if one.name == model), 0)


def _load_failure(member: Member, model: str) -> str:
    return next((one.load_failure for one in member.node.models if one.name == model), "")


def _refusal(member: Member, model: str) -> str:
    """The server's reason why it did not load a model; empty while that is open."""
    for one in member.node.models:
        if one.name == model and one.versions and all(v.state is ModelState.UNAVAILABLE for v in one.versions):
            return next((v.reason for v in one.versions if v.reason), "")
    return ""


def _worst(failed: Mapping[str, InfernoError]) -> InfernoError:
    """The one error to tell: a permanent one, such as an unknown version, says more than an unreachable node."""
    return min(failed.values(), key=lambda error: error.temporary)
