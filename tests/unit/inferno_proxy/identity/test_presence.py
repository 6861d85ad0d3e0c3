from __future__ import annotations

import pytest

from inferno_proxy.identity.presence import Presence
from inferno_proxy.publishing.snapshot import Dialect
from inferno_proxy.xds.clients import ClientTable
from inferno_runtime.errors import AlreadyExists
from inferno_runtime.identity.names import MeshName, Role
from tests.unit.inferno_proxy.nodes import node
from tests.unit.inferno_proxy.registries import World


def taken(presence: Presence, role: Role, name: str) -> bool:
    try:
        presence.refuse_taken(MeshName("inferno", role, name))
    except AlreadyExists:
        return True
    return False


async def test_the_name_of_a_node_is_taken_while_its_agent_is_there(world: World) -> None:
    presence = Presence(world.registry, ClientTable(world.clock))
    assert not taken(presence, Role.NODE, "a")
    lease = world.registry.join(node("a"))
    assert taken(presence, Role.NODE, "a")
    assert not taken(presence, Role.PROXY, "a")
    lease.detach()
    await world.pass_time(4)
    assert world.phase().value == "unmanaged"
    assert not taken(presence, Role.NODE, "a")
    world.registry.miss("a", node("a").incarnation, "It is gone.")
    assert world.phase().value == "failed"
    assert not taken(presence, Role.NODE, "a")


@pytest.mark.parametrize("role", [Role.PROXY, Role.CLIENT])
@pytest.mark.parametrize("client_id", ["app", "app/7"])
def test_the_name_of_a_data_plane_is_taken_while_it_is_connected(world: World, role: Role, client_id: str) -> None:
    clients = ClientTable(world.clock)
    presence = Presence(world.registry, clients)
    assert not taken(presence, role, "app")
    clients.connected(client_id, Dialect.GRPC, "grpc")
    assert taken(presence, role, "app")
    assert not taken(presence, role, "app2")
    assert not taken(presence, Role.NODE, "app")
