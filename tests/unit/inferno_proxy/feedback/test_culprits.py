from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from inferno_proxy.feedback.culprits import Culprits
from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.fleet import Address, FleetView, Member, Model, Phase, Source
from tests.unit.inferno_proxy.nodes import node

PORTS = {"a": 1, "b": 2, "c": 3, "d": 4}


@dataclass
class Scene:
    """Four nodes, the judge, and a clock; each word of the log and of the fleet is judged at once."""

    culprits: Culprits = field(default_factory=Culprits)
    now: float = 1000.0
    dead: set[str] = field(default_factory=set)
    # Processes of model ``m`` that each node has lost, and its life.
    lost: Counter[str] = field(default_factory=Counter)
    lives: Counter[str] = field(default_factory=Counter)
    refused: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.judge()

    def view(self) -> FleetView:
        members = {
            name: Member(
                replace(
                    node(name, port=port),
                    http_address=Address("127.0.0.1", port + 100),
                    models=(Model("m", lost_processes=self.lost[name]),),
                    incarnation=1 + self.lives[name],
                ),
                Phase.FAILED if name in self.dead else Phase.SERVING,
                Source.AGENT,
                0.0,
            )
            for name, port in PORTS.items()
        }
        return FleetView(1, members)

    def judge(self) -> dict[str, frozenset[str]]:
        self.refused = dict(self.culprits.judge(self.view(), self.now))
        return self.refused

    def saw(self, outcome: Outcome, name: str, where: str, model: str = "m", *, rest: bool = False) -> None:
        address = Address("127.0.0.1", PORTS[where] + 100 * rest)
        self.culprits.tries([Try(model, address, outcome, 0.01, self.now, fingerprint=name)])

    def death(self, where: str, *under: str, apart: float = 0.3) -> None:
        """A node dies under these requests and is back ten seconds later."""
        for name in under:
            self.saw(Outcome.RESET, name, where)
        self.now += apart
        self.dead.add(where)
        self.judge()
        self.now += 10
        self.dead.discard(where)
        self.judge()


def test_a_request_under_which_two_nodes_died_is_refused() -> None:
    scene = Scene()
    scene.death("a", "bad", "x")
    assert scene.refused == {}
    scene.death("b", "bad", "y")
    assert scene.refused == {"m": {"bad"}}
    [act] = scene.culprits.take_acts()
    assert (act.kind, act.subject) == ("REQUEST_QUARANTINED", "m")
    assert act.evidence == "request bad broke when a, b died within 10.3 s, and was not answered"
    assert scene.culprits.take_acts() == []


def test_a_request_under_which_its_model_lost_processes_on_two_nodes_is_refused() -> None:
    scene = Scene()
    for where, bystanders in (("a", ("x", "y")), ("b", ("x",))):
        scene.lost[where] += 1
        scene.judge()
        # The server answers for a process that is gone after a second.
        scene.now += 1.2
        for name in ("bad", *bystanders):
            scene.saw(Outcome.FAILED, name, where)
            scene.saw(Outcome.FAILED, name, where, model="other")
        scene.saw(Outcome.ANSWERED, "x", "c")
        scene.judge()
        scene.now += 5
    assert scene.refused == {"m": {"bad"}}, "and no request of another model"
    [act] = scene.culprits.take_acts()
    assert act.evidence.startswith("request bad broke when a process of m on a, a process of m on b died within 6.2 s")


def test_a_request_under_which_its_model_lost_three_processes_on_one_node_is_refused() -> None:
    scene = Scene()
    for deaths in (1, 2, 3):
        assert scene.refused == {}
        scene.saw(Outcome.FAILED, "bad", "a")
        scene.lost["a"] = deaths
        scene.judge()
        scene.now += 10
        scene.judge()
    assert scene.refused == {"m": {"bad"}}


def test_what_failed_beside_a_loss_of_a_former_life_or_at_one_node_only_is_innocent() -> None:
    scene = Scene()
    for where in ("a", "b"):
        scene.saw(Outcome.FAILED, "unlucky", where)
        scene.lost[where], scene.lives[where] = 3, 1
        assert scene.judge() == {}
    scene.saw(Outcome.FAILED, "unlucky", "c")
    scene.lost["c"] += 1
    assert scene.judge() == {}


def test_two_deaths_of_one_node_are_not_enough() -> None:
    scene = Scene()
    scene.death("a", "bad")
    scene.death("a", "bad")
    assert scene.refused == {}


def test_a_request_that_was_answered_before_or_since_is_innocent() -> None:
    scene = Scene()
    scene.saw(Outcome.ANSWERED, "usual", "c")
    scene.death("a", "usual", "late", "bad")
    scene.saw(Outcome.ANSWERED, "late", "d")
    scene.death("b", "usual", "late", "bad")
    assert scene.refused == {"m": {"bad"}}


def test_an_answer_of_long_ago_clears_nothing() -> None:
    scene = Scene()
    scene.saw(Outcome.ANSWERED, "bad", "c")
    scene.now += 601
    scene.death("a", "bad")
    scene.death("b", "bad")
    assert scene.refused == {"m": {"bad"}}


def test_tries_that_break_without_a_death_or_long_before_one_accuse_nobody() -> None:
    scene = Scene()
    for where in ("a", "b"):
        scene.saw(Outcome.RESET, "unlucky", where)
    assert scene.judge() == {}
    for where in ("a", "b"):
        scene.death(where, "slow", apart=3.5)
        scene.saw(Outcome.FAILED, "unlucky", where)
        scene.death(where)
    assert scene.refused == {}


def test_the_one_at_most_deaths_is_taken_before_bystanders_at_two() -> None:
    scene = Scene()
    for where, under in (("a", ("bad", "x")), ("b", ("bad", "x")), ("c", ("bad",))):
        scene.saw(Outcome.RESET, under[0], where)
        for other in under[1:]:
            scene.saw(Outcome.RESET, other, where)
        scene.dead.add(where)
    scene.now += 0.2
    assert scene.judge() == {"m": {"bad"}}


def test_of_too_many_that_fit_alike_none_is_refused_until_one_stands_out() -> None:
    scene = Scene()
    crowd = [f"r{number}" for number in range(5)]
    scene.death("a", *crowd)
    scene.death("b", *crowd)
    assert scene.refused == {}
    scene.death("c", "r3")
    assert scene.refused == {"m": {"r3"}}


def test_a_refusal_ends_and_one_more_death_renews_it() -> None:
    scene = Scene()
    scene.death("a", "bad")
    scene.death("b", "bad")
    scene.culprits.take_acts()
    scene.now += 601
    assert scene.judge() == {}
    [released] = scene.culprits.take_acts()
    assert (released.kind, released.seconds) == ("REQUEST_RELEASED", 600)
    scene.now += 3600
    assert scene.judge() == {}
    scene.death("c", "bad")
    assert scene.refused == {"m": {"bad"}}


def test_models_are_judged_apart_and_both_addresses_of_a_node_count() -> None:
    scene = Scene()
    scene.saw(Outcome.RESET, "bad", "a", model="m")
    scene.saw(Outcome.RESET, "bad", "b", model="n")
    scene.saw(Outcome.RESET, "worse", "a", model="n", rest=True)
    scene.saw(Outcome.RESET, "worse", "b", model="n", rest=True)
    scene.dead |= {"a", "b"}
    assert scene.judge() == {"n": {"worse"}}


def test_calls_without_a_fingerprint_have_their_model_watched() -> None:
    scene = Scene()
    scene.death("a", "")
    assert scene.culprits.watched == frozenset()
    scene.death("b", "")
    assert scene.culprits.watched == {"m"}
    assert scene.refused == {}
    [act] = scene.culprits.take_acts()
    assert (act.kind, act.subject) == ("CALLS_WATCHED", "m")
    scene.now += 700
    scene.judge()
    assert scene.culprits.watched == frozenset()


def test_a_death_that_a_refused_request_explains_accuses_nobody_else() -> None:
    scene = Scene()
    for where in ("a", "b", "c"):
        scene.saw(Outcome.RESET, "bad", where)
    for where in ("a", "b"):
        scene.saw(Outcome.RESET, "x", where)
        scene.saw(Outcome.RESET, "y", where, model="n")
    scene.dead |= {"a", "b", "c"}
    for _ in range(3):
        assert scene.judge() == {"m": {"bad"}}


def test_what_is_no_node_of_the_fleet_is_left_out() -> None:
    scene = Scene()
    scene.culprits.tries([Try("m", Address("10.9.9.9", 1), Outcome.RESET, 0.1, scene.now, fingerprint="bad")])
    for where in ("a", "b"):
        scene.saw(Outcome.RESET, "not\na name", where)
    scene.dead |= {"a", "b"}
    assert scene.judge() == {}


def test_of_very_many_requests_the_latest_are_remembered() -> None:
    scene = Scene()
    scene.saw(Outcome.ANSWERED, "bad", "c")
    scene.saw(Outcome.RESET, "gone", "a")
    scene.saw(Outcome.RESET, "gone", "b")
    for number in range(4096):
        scene.saw(Outcome.ANSWERED, f"r{number}", "c")
        scene.saw(Outcome.RESET, f"r{number}", "a")
    scene.death("a", "bad")
    scene.death("b", "bad")
    assert scene.refused == {"m": {"bad"}}
