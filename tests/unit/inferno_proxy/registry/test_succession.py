"""Who may speak for a node."""

from __future__ import annotations

import pytest

from inferno_proxy.fleet import Phase, Source
from inferno_runtime.errors import AlreadyExists, Fenced, InvalidInput, NotFound
from tests.unit.inferno_proxy.nodes import model, node
from tests.unit.inferno_proxy.registries import World


def test_a_newer_life_takes_over_at_once_and_the_older_is_fenced(world: World) -> None:
    old = world.registry.join(node(incarnation=1))
    new = world.registry.join(node(incarnation=2))
    assert isinstance(world.ended(old), Fenced)
    with pytest.raises(Fenced):
        old.renew()
    with pytest.raises(Fenced):
        old.update(node(incarnation=1, revision=9))
    with pytest.raises(Fenced):
        world.registry.join(node(incarnation=1))
    new.renew()
    assert world.registry.view.value.members["a"].node.incarnation == 2
    assert "NODE_RESTARTED" in world.kinds()


def test_the_same_life_may_come_back_on_another_stream(world: World) -> None:
    old = world.registry.join(node(revision=5))
    world.registry.applied({"a": (1, 5), "nobody": (1, 1)})
    old.detach()
    new = world.registry.join(node(revision=5))
    assert isinstance(world.ended(old), Fenced)
    old.detach()
    new.renew()
    assert new.outlook.value.applied_revision == 5
    assert world.registry.applied_revision("a") == 5


def test_an_older_revision_of_the_same_life_is_no_news(world: World) -> None:
    world.registry.join(node(revision=5, models=(model("new"),))).detach()
    lease = world.registry.join(node(revision=4, models=(model("old"),)))
    lease.update(node(revision=5, models=(model("old"),)))
    assert [m.name for m in world.registry.view.value.members["a"].node.models] == ["new"]


def test_a_change_must_name_its_own_node_and_life(world: World) -> None:
    lease = world.registry.join(node())
    with pytest.raises(InvalidInput) as refused:
        lease.update(node(incarnation=2, revision=2))
    assert refused.value.metadata["field"] == "incarnation"
    with pytest.raises(InvalidInput):
        lease.update(node(revision=2, models=(model(""),)))
    assert world.registry.view.value.members["a"].node.revision == 1


def test_two_machines_with_one_name_are_found_out(world: World) -> None:
    first = world.registry.join(node(incarnation=1, port=1))
    world.registry.join(node(incarnation=2, port=2))
    assert isinstance(world.ended(first), Fenced)
    with pytest.raises(AlreadyExists, match=r"Two machines.*127\.0\.0\.1:2.*127\.0\.0\.1:1"):
        world.registry.join(node(incarnation=3, port=1))
    assert world.kinds()[-1] == "NODE_CONFLICT"


async def test_takeovers_long_ago_are_no_conflict(world: World) -> None:
    world.registry.join(node(incarnation=1, port=1))
    lease = world.registry.join(node(incarnation=2, port=2))
    for _ in range(101):
        await world.pass_time(3)
        lease.renew()
    world.registry.join(node(incarnation=3, port=1))
    assert world.registry.view.value.members["a"].node.grpc_address.port == 1


def test_a_node_that_restarts_with_other_ports_is_no_conflict(world: World) -> None:
    for incarnation in range(1, 10):
        world.registry.join(node(incarnation=incarnation, port=8000 + incarnation)).detach()
    assert world.phase() is Phase.SERVING


def test_the_same_life_from_another_machine_is_refused_while_the_first_is_connected(world: World) -> None:
    world.registry.join(node(port=1))
    with pytest.raises(AlreadyExists, match="in this incarnation"):
        world.registry.join(node(port=2))


def test_an_announcement_cannot_take_a_live_agents_name(world: World) -> None:
    world.registry.join(node())
    with pytest.raises(AlreadyExists, match="agent"):
        world.registry.join(node(incarnation=9), Source.ANNOUNCED)


def test_an_agent_takes_over_what_was_announced_or_listed(world: World) -> None:
    world.registry.join(node(incarnation=99), Source.ANNOUNCED)
    world.registry.join(node(incarnation=5))
    member = world.registry.view.value.members["a"]
    assert (member.source, member.node.incarnation) == (Source.AGENT, 5)


def test_a_goodbye_takes_the_node_out_at_once_and_for_good(world: World) -> None:
    lease = world.registry.join(node(incarnation=3))
    with pytest.raises(Fenced, match="incarnation 3, not 2"):
        world.registry.deregister("a", 2)
    world.registry.deregister("a", 3)
    assert not world.registry.view.value.members
    assert isinstance(world.ended(lease), Fenced)
    with pytest.raises(NotFound, match="'a'"):
        world.registry.deregister("a", 3)
    with pytest.raises(Fenced, match="goodbye"):
        world.registry.join(node(incarnation=3))
    with pytest.raises(Fenced):
        lease.renew()
    lease.detach()
    world.registry.join(node(incarnation=4))
    assert world.phase() is Phase.SERVING


def test_goodbyes_are_remembered_within_a_bound(world: World) -> None:
    for number in range(10_001):
        world.registry.join(node(f"n{number}", port=1 + number))
        world.registry.deregister(f"n{number}", 1)
    world.registry.join(node("n0"))
    with pytest.raises(Fenced):
        world.registry.join(node("n1"))
