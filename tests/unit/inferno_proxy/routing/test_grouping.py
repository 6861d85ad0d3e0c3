from __future__ import annotations

from inferno_proxy.fleet import Address, Member, Model, ModelState, ModelVersion, Node, Phase, Source
from inferno_proxy.routing.grouping import Placed, grouped
from inferno_proxy.routing.traffic import VERSION, Mirror, Split, Traffic

READY, LOADING = ModelState.READY, ModelState.LOADING
CANARY = Split("track", (("canary", 10), ("old", 0), ("stable", 90)))


def serving(name: str, track: str = "", phase: Phase = Phase.SERVING, **versions: ModelState) -> tuple[Member, Model]:
    model = Model(
        "m", tuple(ModelVersion(v.removeprefix("v"), state) for v, state in (versions or {"v1": READY}).items())
    )
    node = Node(name, 1, Address("10.0.0.1", 8001), models=(model,), labels={"track": track} if track else {})
    return Member(node, phase, Source.AGENT, 0.0), model


def names(found: tuple[list[Placed], list[Member]]) -> tuple[list[tuple[str, str, int]], list[str]]:
    placed, copies = found
    return [(p.member.node.node_id, p.group, p.share) for p in placed], [m.node.node_id for m in copies]


def test_without_a_split_everybody_shares() -> None:
    assert names(grouped([serving("a", "x"), serving("b")], Traffic())) == ([("a", "", 0), ("b", "", 0)], [])


def test_a_group_takes_its_share_and_one_without_weight_takes_nothing() -> None:
    fleet = [serving("a", "stable"), serving("b", "canary"), serving("c", "old"), serving("d")]
    assert names(grouped(fleet, Traffic(split=CANARY))) == ([("a", "stable", 90), ("b", "canary", 10)], [])


def test_a_split_without_a_node_that_takes_work_does_not_apply() -> None:
    fleet = [serving("a", "stable", Phase.DRAINING), serving("d")]
    assert names(grouped(fleet, Traffic(split=CANARY))) == ([("a", "", 0), ("d", "", 0)], [])


def test_the_newest_ready_version_names_the_group() -> None:
    split = Split(VERSION, (("10", 1), ("9", 1), ("x", 1)))
    fleet = [
        serving("a", v9=READY, v10=READY, v11=LOADING),
        serving("b", v9=READY),
        serving("c", vx=READY),
        serving("d", v12=READY),
    ]
    assert names(grouped(fleet, Traffic(split=split)))[0] == [("a", "10", 1), ("b", "9", 1), ("c", "x", 1)]


def test_a_node_that_gets_copies_takes_no_call_unless_the_split_names_it() -> None:
    fleet = [serving("a", "stable"), serving("b", "shadow"), serving("c", "canary")]
    alone = Traffic(mirror=Mirror("track", "shadow"))
    assert names(grouped(fleet, alone)) == ([("a", "", 0), ("c", "", 0)], ["b"])
    both = Traffic(split=CANARY, mirror=Mirror("track", "canary"))
    assert names(grouped(fleet, both)) == ([("a", "stable", 90), ("c", "canary", 10)], ["c"])
