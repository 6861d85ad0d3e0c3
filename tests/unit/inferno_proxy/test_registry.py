"""The table of leases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferno_proxy.admission import Limits
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Address, ModelLoad, ModelState, NodeCondition, Phase, Source
from inferno_proxy.lease import Lease, Terms
from inferno_proxy.membership import Record
from inferno_proxy.registry import Registry
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import AlreadyExists, Exhausted, Fenced, InvalidInput, NotFound
from tests.unit.inferno_proxy.nodes import model, node


class World:
    """A registry, and a clock that the test moves."""

    def __init__(self, nodes: int = 100_000) -> None:
        self.clock = ManualClock()
        self.events = EventLog(self.clock)
        self.registry = Registry(Terms(3, 600, Limits(nodes=nodes)), self.clock, self.events)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and leases end, a quarter of a second at a time."""
        for _ in range(round(seconds * 4)):
            await self.clock.advance(0.25)
            self.registry.expire()

    def phase(self, node_id: str = "a") -> Phase:
        return self.registry.view.value.members[node_id].phase

    def reason(self, node_id: str = "a") -> str:
        return self.registry.view.value.members[node_id].reason

    def ended(self, lease: Lease) -> Exception | None:
        return lease.outlook.value.ended

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events.kept]


@pytest.fixture
def world() -> World:
    return World()


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


def test_applied_revisions_only_grow_and_belong_to_a_life(world: World) -> None:
    lease = world.registry.join(node(incarnation=7))
    world.registry.applied({"a": (7, 3)})
    world.registry.applied({"a": (7, 2)})
    world.registry.applied({"a": (6, 9)})
    assert lease.outlook.value.applied_revision == 3


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


def test_an_address_taken_by_a_newer_node_is_lost_to_the_older_until_that_leaves(world: World) -> None:
    world.registry.join(node("old"))
    world.registry.join(node("new"))
    assert world.phase("old") is Phase.FAILED
    assert "'new'" in world.reason("old")
    assert world.phase("new") is Phase.SERVING
    world.registry.deregister("new", 1)
    assert world.phase("old") is Phase.SERVING


def test_an_agents_word_on_an_address_counts_more_than_a_list(world: World) -> None:
    world.registry.join(node("agent"))
    world.registry.join(node("listed"), Source.STATIC)
    assert (world.phase("agent"), world.phase("listed")) == (Phase.SERVING, Phase.FAILED)


async def test_a_live_node_wins_an_address_from_a_lost_one(world: World) -> None:
    world.registry.join(node("lost"))
    await world.pass_time(4)
    world.registry.join(node("listed"), Source.STATIC)
    assert (world.phase("lost"), world.phase("listed")) == (Phase.FAILED, Phase.SERVING)


def test_an_address_is_one_whether_it_is_claimed_for_grpc_or_rest(world: World) -> None:
    world.registry.join(node("a", port=1, http_address=Address("127.0.0.1", 2)))
    world.registry.join(node("b", port=2))
    assert world.phase("a") is Phase.FAILED


def test_a_node_that_moves_gives_its_address_up(world: World) -> None:
    lease = world.registry.join(node("a", port=1))
    world.registry.join(node("b", port=2))
    lease.update(node("a", port=2, revision=2))
    assert (world.phase("a"), world.phase("b")) == (Phase.SERVING, Phase.FAILED)
    lease.update(node("a", port=3, revision=3))
    assert (world.phase("a"), world.phase("b")) == (Phase.SERVING, Phase.SERVING)


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
