"""The fleet as those who ask for its health meet it: what operators ordered to take no calls takes none."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from inferno_proxy.fleet import FleetView, Member, Model, ModelState, Phase
from inferno_proxy.routing.steering import Steering
from inferno_runtime.latest import Latest

_ORDERED = "An operator ordered that it takes no calls (inferno mesh orders)."


def offered(view: FleetView, steering: Steering) -> FleetView:
    """The fleet with nodes in quarantine as draining, and models in quarantine as unavailable; without such orders, the
    same object."""
    if not steering.models:
        named = {node: view.members[node] for node in steering.withheld if node in view.members}
    else:
        named = dict(view.members)
    changed = {node: new for node, member in named.items() if (new := _offered(member, node, steering)) is not member}
    return replace(view, members=MappingProxyType({**view.members, **changed})) if changed else view


async def follow(view: Latest[FleetView], steering: Latest[Steering], into: Latest[FleetView]) -> None:
    """Keep ``into`` as :func:`offered` says, until cancelled."""

    async def each(cause: Latest[Any]) -> None:
        async for _ in cause.watch():
            into.set(offered(view.value, steering.value))

    async with asyncio.TaskGroup() as group:
        group.create_task(each(view))
        group.create_task(each(steering))


def _offered(member: Member, node: str, steering: Steering) -> Member:
    if node in steering.withheld and member.takes_work:
        return replace(member, phase=Phase.DRAINING, reason=_ORDERED)
    if not any(model.name in steering.models and model.ready for model in member.node.models):
        return member
    models = (_closed(model) if model.name in steering.models else model for model in member.node.models)
    return replace(member, node=replace(member.node, models=tuple(models)))


def _closed(model: Model) -> Model:
    versions = (
        replace(one, state=ModelState.UNAVAILABLE, reason=_ORDERED) if one.state is ModelState.READY else one
        for one in model.versions
    )
    return replace(model, versions=tuple(versions))
