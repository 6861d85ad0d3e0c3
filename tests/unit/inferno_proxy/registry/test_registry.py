"""The table of leases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferno_proxy.fleet import ModelLoad, ModelState, NodeCondition, Phase, Source
from inferno_proxy.registry.lease import Terms
from inferno_proxy.registry.membership import Record
from inferno_proxy.registry.registry import Registry
from inferno_runtime.errors import Exhausted, NotFound
from tests.unit.inferno_proxy.nodes import model, node
from tests.unit.inferno_proxy.registries import World


def test_a_node_that_joins_serves(world: World) -> None:
    world.registry.join(node())
    assert world.phase() is Phase.SERVING
    assert world.registry.view.value.serial == 1
    assert world.kinds() == ["NODE_JOINED"]


async def test_heartbeats_hold_a_lease_without_changing_the_fleet(world: World) -> None:
    lease = world.registry.join(node())
    serial = world.registry.view.value.serial
    for _ in range(10):
        await world.pass_time(1)
        lease.renew((ModelLoad("m", 1, 2, 3, 4),))
    assert world.phase() is Phase.SERVING
    assert world.registry.view.value.serial == serial
    load = world.registry.member("a").load
    assert load is not None
    assert load.at == world.clock.monotonic()


async def test_a_lost_lease_leaves_the_node_at_work_and_says_so(world: World) -> None:
    lease = world.registry.join(node())
    lease.detach()
    await world.pass_time(2.75)
    assert world.phase() is Phase.SERVING
    await world.pass_time(0.5)
    assert world.phase() is Phase.UNMANAGED
    assert world.registry.view.value.members["a"].takes_work
    assert "3 s" in world.reason()
    assert "LEASE_EXPIRED" in world.kinds()


def test_leases_are_as_long_as_the_fleet_is_large_and_agents_are_told(world: World) -> None:
    registry = Registry(Terms(3, 600, heartbeats=1), world.clock, world.events)
    lease = registry.join(node("a"))
    assert lease.outlook.value.duration == 3
    others = {name: node(name, port=port) for port, name in enumerate("bcd", 9001)}
    for other in others.values():
        registry.join(other)
    lease.renew()
    assert lease.outlook.value.duration == 12
    registry.deregister("d", others["d"].incarnation)
    lease.renew()
    assert lease.outlook.value.duration == 12, "a small step is not worth a message"
    for name in "bc":
        registry.deregister(name, others[name].incarnation)
    lease.renew()
    assert lease.outlook.value.duration == 3


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_wall_clock_that_jumps_ends_no_lease(world: World, hours: int) -> None:
    world.registry.join(node())
    await world.pass_time(1)
    world.clock.jump_wall(hours * 3600)
    await world.pass_time(1.75)
    assert world.phase() is Phase.SERVING
    await world.pass_time(0.5)
    assert world.phase() is Phase.UNMANAGED, "the lease ends when it would have ended"


def test_a_life_after_a_goodbye_is_newer_though_the_clock_was_set_back(world: World) -> None:
    world.registry.join(node(incarnation=1000))
    world.registry.deregister("a", 1000)
    again = world.registry.next_incarnation("a", 10)
    world.registry.join(node(incarnation=again))
    assert world.phase() is Phase.SERVING
    assert world.registry.next_incarnation("another", 10) == 10


async def test_a_late_heartbeat_brings_the_node_back(world: World) -> None:
    lease = world.registry.join(node())
    await world.pass_time(4)
    lease.renew()
    assert world.phase() is Phase.SERVING
    assert world.kinds()[-1] == "NODE_RETURNED"
    await world.pass_time(4)
    assert world.phase() is Phase.UNMANAGED


async def test_a_node_nobody_vouches_for_is_forgotten_after_the_hold(world: World) -> None:
    world.registry.join(node())
    await world.pass_time(602)
    assert world.phase() is Phase.UNMANAGED
    await world.pass_time(2)
    assert not world.registry.view.value.members
    assert world.kinds()[-1] == "NODE_FORGOTTEN"


async def test_a_lost_node_that_does_not_answer_takes_no_work_and_is_forgotten_sooner(world: World) -> None:
    world.registry.join(node())
    await world.pass_time(4)
    world.registry.miss("a", 1, "It does not answer.")
    assert world.phase() is Phase.FAILED
    assert world.reason() == "It does not answer."
    await world.pass_time(31)
    assert not world.registry.view.value.members


async def test_a_lost_node_that_answers_again_takes_work_again(world: World) -> None:
    world.registry.join(node())
    await world.pass_time(4)
    world.registry.miss("a", 1, "It does not answer.")
    world.registry.observe("a", 1, (model("m"), model("n")))
    assert world.phase() is Phase.UNMANAGED
    assert [m.name for m in world.registry.view.value.members["a"].node.models] == ["m", "n"]
    assert world.registry.view.value.members["a"].node.revision == 1


def test_a_probe_has_no_say_while_an_agent_speaks(world: World) -> None:
    world.registry.join(node())
    world.registry.miss("a", 1, "It does not answer.")
    world.registry.observe("a", 1, ())
    world.registry.observe("nobody", 1, ())
    assert world.phase() is Phase.SERVING
    assert world.registry.view.value.members["a"].node.models


def test_a_probe_of_an_older_life_has_no_say(world: World) -> None:
    world.registry.join(node(incarnation=2), Source.STATIC)
    world.registry.miss("a", 1, "It does not answer.")
    assert world.phase() is Phase.SERVING


def test_what_a_probe_reads_counts_as_a_new_revision_of_a_node_without_agent(world: World) -> None:
    world.registry.join(node(models=()), Source.STATIC)
    world.registry.observe("a", 1, (model(),), "triton 2.51")
    member = world.registry.view.value.members["a"]
    assert (member.node.revision, member.node.server_version) == (2, "triton 2.51")
    serial = world.registry.view.value.serial
    world.registry.observe("a", 1, (model(),), "triton 2.51")
    assert world.registry.view.value.serial == serial


def test_models_that_no_resource_could_carry_fail_the_node_instead(world: World) -> None:
    world.registry.join(node(models=()), Source.STATIC)
    world.registry.observe("a", 1, (model("a b"),))
    assert world.phase() is Phase.FAILED
    assert "models[0].name" in world.reason()


def test_what_the_agent_knows_of_a_model_survives_a_probe(world: World) -> None:
    world.registry.restore(Record(node(models=(model(instance_count=4),)), Source.AGENT, 0), 3)
    world.registry.observe("a", 1, (model(state=ModelState.LOADING),))
    [seen] = world.registry.view.value.members["a"].node.models
    assert (seen.instance_count, seen.ready) == (4, False)


def test_applied_revisions_only_grow_and_belong_to_a_life(world: World) -> None:
    lease = world.registry.join(node(incarnation=7))
    world.registry.applied({"a": (7, 3)})
    world.registry.applied({"a": (7, 2)})
    world.registry.applied({"a": (6, 9)})
    assert lease.outlook.value.applied_revision == 3


def test_a_drain_holds_over_a_restart_until_it_is_taken_back(world: World) -> None:
    lease = world.registry.join(node())
    assert world.registry.drain("a").phase is Phase.DRAINING
    world.registry.drain("a")
    assert lease.outlook.value.drain
    newer = world.registry.join(node(incarnation=2))
    assert (world.phase(), newer.outlook.value.drain) == (Phase.DRAINING, True)
    undrained = world.registry.drain("a", drained=False)
    assert (undrained.phase, newer.outlook.value.drain) == (Phase.SERVING, False)
    assert world.kinds().count("NODE_DRAINED") == 1


async def test_a_drain_with_an_end_is_taken_back_by_itself_also_after_a_restart(world: World) -> None:
    lease = world.registry.join(node("a"), duration=3600)
    ends = world.clock.wall() + 60
    said = world.registry.drain("a", ends=ends).reason
    assert said.startswith("An operator drained it until 20")
    [(kept, _)] = world.registry.records()
    await world.clock.advance(59)
    world.registry.expire()
    assert world.phase() is Phase.DRAINING
    await world.clock.advance(1)
    world.registry.expire()
    assert (world.phase(), lease.outlook.value.drain) == (Phase.SERVING, False)
    assert world.kinds()[-1] == "NODE_UNDRAINED"
    world.registry.deregister("a", 1)
    world.registry.restore(kept, 3)
    world.registry.expire()
    assert not world.registry.records()[0][0].drained


async def test_a_drain_may_be_made_to_last_and_a_node_that_left_is_past_it(world: World) -> None:
    world.registry.join(node("a"), duration=3600)
    world.registry.drain("a", ends=world.clock.wall() + 60)
    assert world.registry.drain("a").reason == "An operator drained it."
    await world.clock.advance(61)
    world.registry.expire()
    assert world.phase() is Phase.DRAINING
    world.registry.drain("a", ends=world.clock.wall() + 60)
    world.registry.deregister("a", 1)
    await world.clock.advance(61)
    world.registry.expire()
    assert world.kinds().count("NODE_UNDRAINED") == 0


def test_draining_a_node_that_does_not_exist_names_those_that_do(world: World) -> None:
    world.registry.join(node("a"))
    with pytest.raises(NotFound) as refused:
        world.registry.drain("b")
    assert "a" in refused.value.fix


@pytest.mark.parametrize(
    ("condition", "said", "phase", "shown"),
    [
        (NodeCondition.DRAINING, "a spot notice", Phase.DRAINING, "a spot notice"),
        (NodeCondition.DRAINING, "", Phase.DRAINING, "Its agent drains it."),
        (NodeCondition.FAILED, "hung", Phase.FAILED, "hung"),
        (NodeCondition.FAILED, "", Phase.FAILED, "Its agent says that it failed."),
    ],
)
def test_the_agents_word_decides_the_phase(
    world: World, condition: NodeCondition, said: str, phase: Phase, shown: str
) -> None:
    lease = world.registry.join(node())
    lease.update(node(revision=2, condition=condition, condition_reason=said))
    assert (world.phase(), world.reason()) == (phase, shown)


def test_one_node_too_many_is_refused_with_a_time_to_retry() -> None:
    world = World(nodes=1)
    world.registry.join(node("a"))
    with pytest.raises(Exhausted, match="1 nodes") as refused:
        world.registry.join(node("b", port=2))
    assert refused.value.retry_after
    world.registry.join(node("a", incarnation=2))


def test_a_model_is_wished_of_live_agents_that_can_have_it(world: World) -> None:
    having = world.registry.join(node("having", port=1, models=(model("m"),)))
    without = world.registry.join(node("without", port=2, models=()))
    world.registry.join(node("listed", port=3), Source.STATIC)
    assert world.registry.want_model("m", loaded=False) == {"having": 1}
    assert world.registry.want_model("m", loaded=True) == {"having": 2, "without": 1}
    assert having.outlook.value.wanted["m"].loaded
    assert without.outlook.value.wanted["m"].generation == 1


def test_what_is_wished_holds_for_one_life(world: World) -> None:
    world.registry.join(node()).detach()
    world.registry.want_model("m", loaded=False)
    assert world.registry.join(node()).outlook.value.wanted
    assert not world.registry.join(node(incarnation=2)).outlook.value.wanted


async def test_remembered_nodes_serve_at_once_and_agents_take_their_place_without_a_gap(world: World) -> None:
    world.registry.restore(Record(node(revision=4), Source.AGENT, 0, drained=False), 3)
    assert world.phase() is Phase.UNMANAGED
    assert "since the control plane started" in world.reason()
    await world.pass_time(10)
    world.registry.join(node(revision=4, models=(model("m"), model("n"))))
    member = world.registry.view.value.members["a"]
    assert (member.phase, len(member.node.models)) == (Phase.SERVING, 2)
    world.registry.restore(Record(node(revision=1), Source.AGENT, 0), 3)
    assert world.phase() is Phase.SERVING


async def test_a_remembered_announcement_gets_its_whole_lease_again(world: World) -> None:
    world.registry.restore(Record(node(), Source.ANNOUNCED, 0), 30)
    assert world.phase() is Phase.SERVING
    await world.pass_time(31)
    assert world.phase() is Phase.UNMANAGED
    assert "announced" in world.reason()


async def test_a_listed_node_needs_no_renewal(world: World) -> None:
    world.registry.join(node(), Source.STATIC, attached=False)
    await world.pass_time(20)
    assert world.phase() is Phase.SERVING
    assert [n.node_id for n, _ in world.registry.unattended()] == ["a"]


def test_every_stream_ends_when_the_control_plane_stops(world: World) -> None:
    lease = world.registry.join(node())
    world.registry.close()
    ended = world.ended(lease)
    assert ended is not None
    assert "stops" in str(ended)


def test_members_come_in_order_with_their_records(world: World) -> None:
    world.registry.join(node("b", port=2))
    world.registry.join(node("a", port=1), Source.ANNOUNCED, 30)
    assert [m.node.node_id for m in world.registry.members()] == ["a", "b"]
    assert {(r.node.node_id, d) for r, d in world.registry.records()} == {("a", 30), ("b", 3)}


def test_each_change_of_a_record_is_news_once(world: World) -> None:
    lease = world.registry.join(node("b", port=2))
    world.registry.join(node("a", port=1), Source.ANNOUNCED, 30)
    assert world.registry.take_news() == {r.node.node_id: (r, d) for r, d in world.registry.records()}
    lease.renew()
    assert world.registry.take_news() == {}
    world.registry.drain("b")
    world.registry.deregister("a", 1)
    news = world.registry.take_news()
    assert news.keys() == {"a", "b"}
    assert news["a"] is None
    assert news["b"] is not None
    assert news["b"][0].drained


async def test_time_passes_by_itself_while_the_registry_runs(world: World) -> None:
    import asyncio

    world.registry.join(node())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(world.registry.run())
        await world.clock.settle()
        await world.clock.advance(4)
        running.cancel()
    assert world.phase() is Phase.UNMANAGED


async def test_an_entry_that_left_does_not_disturb_the_clockwork(world: World) -> None:
    world.registry.join(node())
    world.registry.deregister("a", 1)
    world.registry.join(replace(node(), incarnation=2))
    await world.pass_time(4)
    assert world.phase() is Phase.UNMANAGED
