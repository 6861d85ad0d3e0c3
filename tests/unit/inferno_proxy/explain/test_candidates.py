"""Who gets how much of a model's calls, and why the others get less."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inferno_proxy.explain.candidates import Candidate, Scene, candidates, having, shares
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.observed import Observation
from inferno_proxy.fleet import Address, FleetView, Member, ModelState, Phase, Source
from inferno_proxy.orders.order import EMPTY, Book, Kind, Order, steering, with_order
from inferno_proxy.routing.advised import Planner
from inferno_proxy.routing.plan import Endpoint, RoutingSettings
from inferno_proxy.routing.traffic import Balance, Mirror, Split, Traffic, TrafficTable
from tests.unit.inferno_proxy.nodes import model, node


def member(name: str, phase: Phase = Phase.SERVING, reason: str = "", **fields: Any) -> Member:
    fields.setdefault("port", ord(name[0]))
    return Member(node(name, **fields), phase, Source.AGENT, 0.0, reason)


def scene(*members: Member, advice: Advice | None = None, book: Book = EMPTY, near: str = "", **traffic: Any) -> Scene:
    view = FleetView(1, {each.node.node_id: each for each in members})
    settings = RoutingSettings(TrafficTable(others=Traffic(**traffic)), region=near)
    advice = advice or Advice()
    return Scene(view, Planner()(view, settings, advice, steering(book)), advice, book)


def found(made: Scene, name: str = "m") -> dict[str, Candidate]:
    return {each.member.node.node_id: each for each in candidates(name, having(made.view)[name], made)}


def order(kind: Kind, subject: str, **fields: Any) -> Book:
    return with_order(EMPTY, Order(kind, subject, "operator ada", 0.0, **fields))


def test_equals_share_alike_and_have_no_reason() -> None:
    made = found(scene(member("a"), member("b")))
    assert [(each.share, each.reasons, each.takes_calls) for each in made.values()] == [(0.5, (), True)] * 2


@pytest.mark.parametrize(
    ("loser", "reason"),
    [
        (member("b", Phase.FAILED, "It does not answer."), "Its node is failed: It does not answer."),
        (member("b", Phase.DRAINING, "An operator drained it."), "Its node is draining: An operator drained it."),
        (member("b", models=(model(state=ModelState.LOADING),)), "The model is loading there."),
        (member("b", models=(replace(model(), versions=()),)), "The model is not loaded there."),
        (replace(member("b"), node=replace(node("b"), grpc_address=Address("host.name", 1))), "It is left out: its"),
    ],
)
def test_a_node_without_calls_has_a_reason(loser: Member, reason: str) -> None:
    made = found(scene(member("a"), loser))
    assert (made["a"].share, made["b"].share, made["b"].takes_calls) == (1.0, 0.0, False)
    (said,) = made["b"].reasons
    assert said.startswith(reason)


def test_an_unmanaged_node_takes_calls_and_says_what_it_is() -> None:
    made = found(scene(member("a"), member("b", Phase.UNMANAGED, "Its agent is gone.")))
    assert (made["b"].share, made["b"].reasons) == (0.5, ("Its node is unmanaged: Its agent is gone.",))


def test_what_was_learned_and_what_was_ordered_multiply() -> None:
    advice = Advice(weights={("m", "b"): 130})
    made = scene(member("a"), member("b"), advice=advice, book=order(Kind.NODE_WEIGHT, "b", factor=0.5, reason="new"))
    made = replace(made, observed=lambda _, node: Observation(times_slower=2.5) if node == "b" else None)
    b = found(made)["b"]
    assert (b.weight, b.learned, b.factor, round(b.share, 4)) == (65, 130, 0.5, round(65 / 1065, 4))
    assert b.reasons == (
        "Its weight is ordered: operator ada ordered 0.5 times the weight (new).",
        "What was learned gives it 130 of 1000: its calls take 2.5 times as long as those of the best.",
    )
    assert b.observed == Observation(times_slower=2.5)


def test_learned_weights_count_for_nothing_where_calls_follow_a_key() -> None:
    advice = Advice(weights={("m", "b"): 130})
    book = order(Kind.NODE_WEIGHT, "b", factor=0.5)
    b = found(scene(member("a"), member("b"), advice=advice, book=book, balance=Balance.RING_HASH))["b"]
    assert (b.learned, b.share) == (1000, 0.5)
    assert b.reasons[0].endswith("calls of this model follow a key, so it changes nothing.")


@pytest.mark.parametrize("key", [(Kind.NODE_QUARANTINE, "b"), (Kind.MODEL_QUARANTINE, "m")])
def test_a_quarantine_names_who_ordered_it(key: tuple[Kind, str]) -> None:
    b = found(scene(member("a"), member("b"), book=order(*key)))["b"]
    assert (b.quarantined, b.withheld, b.takes_calls, b.share) == (True, True, False, 0.0)
    assert b.reasons == ("It is in quarantine: operator ada ordered that it takes no calls.",)


def test_a_stuck_node_is_out_with_the_evidence() -> None:
    b = found(scene(member("a"), member("b"), advice=Advice(stuck={("m", "b"): "It held 3 calls."})))["b"]
    assert (b.stuck, b.weight, b.reasons) == (True, 0, ("It is stuck: It held 3 calls.",))


def test_an_ejected_node_gets_nothing_for_a_while() -> None:
    made = scene(member("a"), member("b"))
    made = replace(made, ejected=frozenset({(f"127.0.0.1:{ord('b')}", "m")}))
    assert (found(made)["a"].share, found(made)["b"].takes_calls) == (1.0, False)
    assert found(made)["b"].reasons == ("Envoy ejected it for a while, for it kept failing.",)


def test_a_farther_node_waits_for_the_nearer_ones_to_fail() -> None:
    made = found(scene(member("a", region="eu"), member("b", region="us"), near="eu"))
    assert (made["a"].share, made["b"].share, made["b"].priority) == (1.0, 0.0, 1)
    assert made["b"].reasons == ("It is farther away: it gets calls when those of nearer nodes fail.",)


def test_a_split_shares_calls_out_and_says_who_is_left_out() -> None:
    tracks = [member(name, labels={"track": track}) for name, track in zip("abc", ("old", "new", "x"), strict=True)]
    made = found(scene(*tracks, split=Split("track", (("new", 10), ("old", 90)))))
    assert {name: each.share for name, each in made.items()} == {"a": 0.9, "b": 0.1, "c": 0.0}
    assert (made["b"].group, made["c"].reasons) == ("new", ("The split gives its group no share.",))


def test_a_node_that_gets_copies_says_so() -> None:
    made = found(scene(member("a"), member("b", labels={"track": "new"}), mirror=Mirror("track", "new")))
    assert made["b"].reasons == ("It gets copies of calls, not calls.",)


def test_a_node_that_has_just_come_waits_for_the_next_plan() -> None:
    made = scene(member("a"))
    late = FleetView(2, {**made.view.members, "b": member("b")})
    assert found(replace(made, view=late))["b"].reasons == ("It has just come: the next plan has it.",)


def test_shares_of_groups_hold_whatever_their_nodes_weigh() -> None:
    places = [(1000, "x", 80), (500, "x", 80), (5, "y", 20)]
    here = [Endpoint(Address("::1", n), str(n), w, group=g, share=share) for n, (w, g, share) in enumerate(places)]
    assert {node: round(share, 3) for node, share in shares(here).items()} == {"0": 0.533, "1": 0.267, "2": 0.2}
    assert shares([]) == {}
