"""Which node stands at an address, while nodes come, move and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferno_proxy.fleet import Address, FleetView, Member, Phase, Source
from inferno_proxy.reports.places import Places
from tests.unit.inferno_proxy.nodes import model, node

GRPC = Address("127.0.0.1", 8001)
PORTS = (8000, 8001, 8002)
IDS = ("a", "b", "c")

members = st.builds(
    lambda node_id, port, rest, name, phase: Member(
        node(node_id, port=port, http_address=Address("127.0.0.1", rest) if rest else None, models=(model(name),)),
        phase,
        Source.AGENT,
        0.0,
    ),
    st.sampled_from(IDS),
    st.sampled_from(PORTS),
    st.sampled_from((0, *PORTS)),
    st.sampled_from(("m", "n")),
    st.sampled_from((Phase.SERVING, Phase.FAILED)),
)
changes = st.lists(st.one_of(members, st.sampled_from(IDS)), max_size=20)


def test_of_two_members_at_one_address_the_one_that_takes_work_counts() -> None:
    old, new = node("old", models=(model("x"),)), node("new", models=(model("m"),))
    there = {
        each.node_id: Member(each, Phase.SERVING if each is new else Phase.FAILED, Source.AGENT, 0.0)
        for each in (old, new)
    }
    fleet = Places().follow(FleetView(1, there))
    assert fleet.node("m", GRPC) == "new"
    assert fleet.node("x", GRPC) is None


@given(changes)
def test_what_is_followed_says_what_a_fresh_look_says(history: list[Member | str]) -> None:
    followed, there = Places(), dict[str, Member]()
    for serial, change in enumerate(history):
        if isinstance(change, str):
            there.pop(change, None)
        else:
            there[change.node.node_id] = change
        view = FleetView(serial, dict(there))
        followed.follow(view)
        fresh = Places().follow(view)
        for name in ("m", "n"):
            for port in PORTS:
                address = Address("127.0.0.1", port)
                found = followed.node(name, address)
                assert found == fresh.node(name, address)
                assert found is None or address in there[found].node.addresses
