"""Explanations of a model, a node and a call."""

from __future__ import annotations

from dataclasses import replace

from inferno_proxy.explain.explain import explain_call, explain_model, explain_node
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.fleet import Address, Phase
from inferno_proxy.orders.order import Kind, Order, with_order
from inferno_proxy.reloading.quarantine import Held, Step
from inferno_proxy.routing.aliases import Alias
from inferno_proxy.routing.plan import ModelRoute
from inferno_proxy.routing.traffic import Balance, Per, Rate, Split
from tests.unit.inferno_proxy.explain.test_candidates import member, order, scene
from tests.unit.inferno_proxy.nodes import model

TRY = Try("m", Address("127.0.0.1", 1), Outcome.RESET, 0.1, 5.0, request_id="r", flag="upstream_remote_reset")


def test_a_model_goes_to_its_nodes_those_with_most_calls_first() -> None:
    made = explain_model("m", scene(member("a"), member("b"), book=order(Kind.NODE_WEIGHT, "a", factor=0.25)))
    assert [each.member.node.node_id for each in made.candidates] == ["b", "a"]
    assert made.summary.startswith("2 of 2 nodes take calls of 'm': each goes to the one of two drawn by lot")
    assert made.summary.endswith("; 'b' is expected to get 80%.")
    assert made.rules == ("A call that fails is tried up to 3 more times, elsewhere.",)


def test_an_alias_is_named_with_its_model() -> None:
    made = scene(member("a"))
    made = replace(made, plan=replace(made.plan, aliases={"best": Alias("m", "1")}))
    assert explain_model("best", made).summary.startswith("'best' is an alias of m@1. 1 of 1 nodes take calls of 'm'")


def test_a_model_that_nobody_has_or_that_nobody_serves() -> None:
    assert explain_model("x", scene(member("a"))).summary == "No node has the model 'x'."
    dead = explain_model("m", scene(member("a", Phase.FAILED, "gone")))
    assert dead.summary == "None of 1 nodes takes calls of 'm' now: they are answered UNAVAILABLE."


def test_every_rule_of_a_model_is_said() -> None:
    book = with_order(
        order(Kind.LIMIT, "m", patch={"max_concurrency": 7}),
        Order(Kind.SPLIT, "m", "operator eve", 1.0, patch={"split": {"by": "version", "weights": {"1": 100}}}),
    )
    advice = Advice(limits={"m": 9}, hedge_after={"m": 0.05}, quarantined={"m": frozenset({"f"})})
    made = scene(
        member("a"),
        book=book,
        advice=advice,
        split=Split("@version", (("1", 100),)),
        rate=Rate(5, 60.0, Per.ADDRESS),
        max_concurrency=7,
        repeatable=False,
    )
    held = Held(ModelRoute("m"), Step.CLOSED)
    assert explain_model("m", replace(made, held={"m": held})).rules == (
        "operator ada ordered at most 7 calls under way.",
        "A data plane refused its configuration: its calls are answered UNAVAILABLE.",
        "Its calls are split by version: 1 100 (operator eve ordered shares by version: 1 100 %).",
        "It may be called 5 times in 60 s by each address, counted per proxy.",
        "At most 7 of its calls are under way in each data plane.",
        "It has more work than it can do in time: at most 9 calls are under way in each data plane.",
        "A call that may have begun is not tried again.",
        "A call without an answer after 50 ms goes to a second node as well.",
        "1 requests that end nodes are refused by their fingerprints.",
    )
    hopeless = explain_model("m", scene(member("a"), advice=Advice(hopeless=frozenset({"m"}))))
    assert hopeless.rules == ("All of its nodes fail: a call that fails is not tried again.",)


def test_sequences_and_keys_stay_on_a_node() -> None:
    stateful = explain_model("m", scene(member("a", models=(model(stateful=True),))))
    assert "each goes to the node that owns the call's sequence" in stateful.summary
    keyed = explain_model("m", scene(member("a"), balance=Balance.MAGLEV))
    assert "each goes to the node that owns the call's key in a table" in keyed.summary


def test_a_node_says_what_it_gets_of_each_of_its_models() -> None:
    book = order(Kind.NODE_WEIGHT, "a", factor=0.5)
    made = explain_node("a", scene(member("a", models=(model(), model("n"))), member("b"), book=book))
    assert made.summary == "Node 'a' is serving and gets calls of 2 of its 2 models."
    assert [(each.model, round(each.share, 2)) for each in made.candidates] == [("n", 1.0), ("m", 0.33)]
    assert made.rules == ("operator ada ordered 0.5 times the weight.",)
    dead = explain_node("a", scene(member("a", Phase.FAILED, "It is gone.")))
    assert dead.summary == "Node 'a' is failed (It is gone.) and gets calls of 0 of its 1 models."


def test_a_call_is_told_by_its_tries() -> None:
    second = replace(TRY, attempt=2, outcome=Outcome.ANSWERED, status="gRPC 0", flag="", seconds=0.02)
    made = explain_call("r", (TRY, second))
    assert made.summary == (
        "Call 'r' of model 'm': 2 tries of it were kept. The last one was answered (gRPC 0) after 20 ms."
    )
    assert (made.tries, made.model) == ((TRY, second), "m")
    assert explain_call("r", (second,)).summary == (
        "Call 'r' of model 'm': one try of it was kept; 1 earlier ones were not. "
        "The last one was answered (gRPC 0) after 20 ms."
    )
    assert explain_call("r", (TRY,)).summary.endswith("The last one was reset after 100 ms.")
