"""Explanations from what the running control plane planned, learned and saw, as messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from inferno.mesh.v1 import mesh_service_pb2 as wire
from inferno_proxy.envoy.ejections import ejected
from inferno_proxy.errors import unknown_model, unknown_node
from inferno_proxy.events import EventLog
from inferno_proxy.explain.candidates import Scene, candidates, having
from inferno_proxy.explain.explain import Explanation, explain_call, explain_model, explain_node
from inferno_proxy.explain.recent import RecentTries
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.observed import Observation
from inferno_proxy.fleet import Address, FleetView
from inferno_proxy.orders.desk import OrderDesk
from inferno_proxy.publishing.publisher import Recipe
from inferno_proxy.routing.plan import RoutePlan
from inferno_proxy.services import mesh_wire as to
from inferno_runtime.clock import Clock
from inferno_runtime.errors import NotFound
from inferno_runtime.latest import Latest


@dataclass(frozen=True, slots=True)
class Decisions:
    """What decides where calls go. ``planned`` is the newest plan, ``published`` changes with each one that data planes
    are told of; ``observations`` is what is known of a model's nodes at a moment (monotonic seconds)."""

    fleet: Latest[FleetView]
    planned: Callable[[], RoutePlan]
    published: Latest[Any]
    recipe: Latest[Recipe]
    advice: Latest[Advice]
    observations: Callable[[str, float], Mapping[str, Observation]]
    recent: RecentTries


class Explainer:
    """Answers for one control plane."""

    def __init__(self, decisions: Decisions, desk: OrderDesk, events: EventLog, clock: Clock) -> None:
        self._decisions = decisions
        self._desk = desk
        self._events = events
        self._clock = clock

    @property
    def published(self) -> Latest[Any]:
        """Changes when shares do."""
        return self._decisions.published

    def endpoints(self, model: str, node_id: str, *, observed: bool = True) -> list[wire.EndpointView]:
        """Every model on every node, or those of one model, of one node; without what was ``observed`` if not asked.

        Raises:
            NotFound: There is no such model, or node.
        """
        scene = self._scene()
        owned = having(scene.view)
        if model and model not in owned:
            raise unknown_model(model, owned)
        if node_id and node_id not in scene.view.members:
            raise unknown_node(node_id, scene.view.members)
        scene = scene if observed else replace(scene, observed=lambda _model, _node: None)
        return [
            to.endpoint_view(each)
            for name in ([model] if model else owned)
            for each in candidates(name, owned[name], scene)
            if node_id in ("", each.member.node.node_id)
        ]

    def model(self, name: str) -> wire.ExplainResponse:
        """Where a model's next call goes.

        Raises:
            NotFound: Nobody has it.
        """
        scene = self._scene()
        explained = explain_model(name, scene)
        if not explained.candidates and name not in scene.plan.aliases:
            raise unknown_model(name, having(scene.view))
        return self._answer(explained)

    def node(self, node_id: str) -> wire.ExplainResponse:
        """What a node gets.

        Raises:
            NotFound: There is no such node.
        """
        scene = self._scene()
        if node_id not in scene.view.members:
            raise unknown_node(node_id, scene.view.members)
        return self._answer(explain_node(node_id, scene))

    def call(self, request_id: str) -> wire.ExplainResponse:
        """What became of a call.

        Raises:
            NotFound: It was not kept.
        """
        tries = self._decisions.recent.of(request_id)
        if not tries:
            raise NotFound(
                f"No try of a call with the x-request-id {request_id[:128]!r} is kept: a fair sample of calls is, and "
                "those that failed at a node, for a while; a call that was refused before it reached one is not.",
                reason="CALL_NOT_KEPT",
                fix="Send the call again with the headers x-request-id and x-inferno-explain: 1, through Envoy.",
            )
        return self._answer(explain_call(request_id, tries))

    def _answer(self, explained: Explanation) -> wire.ExplainResponse:
        nodes: dict[Address, str] = {}
        for node_id, member in self._decisions.fleet.value.members.items() if explained.tries else ():
            nodes |= {a: node_id for a in (member.node.grpc_address, member.node.http_address) if a}
        # A try's time is that of our monotonic clock when its entry arrived.
        offset = self._clock.wall() - self._clock.monotonic()
        return wire.ExplainResponse(
            summary=explained.summary,
            rules=explained.rules,
            candidates=[to.endpoint_view(each) for each in explained.candidates],
            tries=[to.try_view(each, nodes.get(each.address, ""), each.at + offset) for each in explained.tries],
            model=explained.model,
        )

    def _scene(self) -> Scene:
        decisions = self._decisions
        now = self._clock.monotonic()

        @cache
        def of_model(model: str) -> Mapping[str, Observation]:
            return decisions.observations(model, now)

        return Scene(
            decisions.fleet.value,
            decisions.planned(),
            decisions.advice.value,
            self._desk.book.value,
            decisions.recipe.value.quarantine,
            ejected(self._events.kept, self._clock.wall()),
            lambda model, node: of_model(model).get(node),
        )
