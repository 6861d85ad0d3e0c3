"""What Envoy calls the parties of a call, as the governator knows them."""

from __future__ import annotations

from collections.abc import Mapping

from inferno_proxy.fleet import FleetView, ModelState
from inferno_proxy.routing.access import Client
from inferno_proxy.usage.counts import OTHER, Who
from inferno_proxy.usage.ledger import Named


def named(who: Who, view: FleetView, clients: Mapping[str, Client]) -> Named:
    """The team is the client's, which is its own name where the settings name none. The version is known where the
    node serves one version of the model alone."""
    if who.client == OTHER:
        return Named("", OTHER, "", OTHER, OTHER)
    client = clients.get(who.client)
    team = client.team if client is not None else who.client
    return Named(who.node, who.model, _version(who, view), team, who.client)


def _version(who: Who, view: FleetView) -> str:
    member = view.members.get(who.node)
    models = member.node.models if member is not None else ()
    ready = [
        version.version
        for model in models
        if model.name == who.model
        for version in model.versions
        if version.state is ModelState.READY
    ]
    return ready[0] if len(ready) == 1 else ""
