from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from inferno_proxy.feedback.roster import Roster
from inferno_proxy.fleet import Address, FleetView, Member, Model, ModelState, ModelVersion, Node, Phase, Source

NAMES = ("a", "b", "c", "d")
models = st.builds(
    Model,
    name=st.sampled_from(["m", "n"]),
    versions=st.sampled_from([(ModelVersion("1", ModelState.READY),), (ModelVersion("1", ModelState.LOADING),)]),
    stateful=st.booleans(),
    decoupled=st.sampled_from([False, False, True]),
    max_batch_size=st.integers(0, 3),
)
members = st.builds(
    Member,
    node=st.builds(
        Node,
        node_id=st.just(""),
        incarnation=st.integers(1, 2),
        grpc_address=st.just(Address("10.0.0.1", 1)),
        models=st.lists(models, max_size=2, unique_by=lambda model: model.name).map(tuple),
    ),
    phase=st.sampled_from(Phase),
    source=st.just(Source.AGENT),
    since=st.just(0.0),
)
steps = st.dictionaries(st.sampled_from(NAMES), st.one_of(members, members, st.none()), max_size=3)


@given(st.lists(steps, max_size=8))
@settings(max_examples=100, deadline=None)
def test_a_roster_that_follows_is_the_one_made_anew(history: list[dict[str, Member | None]]) -> None:
    roster, there = Roster(), dict[str, Member]()
    for step in history:
        before = dict(there)
        for name, member in step.items():
            there.pop(name, None)
            if member is not None:
                moved = replace(member.node, node_id=name, grpc_address=Address(f"10.0.0.{NAMES.index(name)}", 1))
                there[name] = replace(member, node=moved)
        touched = roster.follow(FleetView(1, dict(there)))
        fresh = Roster()
        fresh.follow(FleetView(1, dict(there)))
        assert (roster.places, roster.serving) == (fresh.places, fresh.serving)
        assert (roster.at_once, roster.streamed) == (fresh.at_once, fresh.streamed)
        for name in before.keys() & there.keys():
            if before[name].node.incarnation != there[name].node.incarnation and before[name].takes_work:
                named = {m.name for m in before[name].node.models if m.ready and not m.stateful}
                assert all(name in touched[model] for model in named)
    assert roster.follow(FleetView(2, dict(there))) == {}
