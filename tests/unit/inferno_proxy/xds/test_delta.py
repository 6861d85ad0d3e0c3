from __future__ import annotations

import pytest

from inferno_proxy.publishing.snapshot import Dialect
from inferno_proxy.xds.delta import Request
from inferno_proxy.xds.subscription import Reply
from tests.unit.inferno_proxy.xds.peers import CDS, EDS, LDS, RDS, Server, ack, fleet, resource, told, world_of


def test_naming_nothing_at_first_means_all_clusters() -> None:
    peer = Server(fleet(1, ["a", "b"]))
    peer.take(Request(CDS))
    assert told(peer.drain()) == [("cds", ["a", "b"], [])]


def test_naming_nothing_at_first_means_no_endpoints() -> None:
    peer = Server(fleet(1, ["a"]))
    peer.take(Request(EDS))
    assert peer.drain() == []


def test_nothing_to_say_is_said_once_to_a_client_that_has_nothing() -> None:
    peer = Server(world_of(1, {}))
    peer.take(Request(CDS))
    (answer,) = peer.drain()
    assert told([answer]) == [("cds", [], [])]
    peer.take(ack(answer))
    assert peer.drain() == []


def test_only_what_changed_is_sent() -> None:
    peer = Server(fleet(1, ["a", "b"]))
    peer.take(Request(CDS))
    peer.take(ack(peer.drain()[0]))
    peer.snapshot = fleet(2, ["a", "b"], contents={"b": "2"})
    assert told(peer.drain()) == [("cds", ["b"], [])]


def test_a_reconnecting_client_is_told_the_difference_and_what_is_gone() -> None:
    peer = Server(world_of(1, {LDS: {"same": "1", "changed": "2", "new": "1"}}))
    held = {"same": resource("same").version, "changed": resource("changed").version, "gone": "x"}
    peer.take(Request(LDS, held=held))
    assert told(peer.drain()) == [("lds", ["changed", "new"], ["gone"])]


def test_a_reconnecting_client_that_has_everything_hears_nothing_of_a_wildcard_type() -> None:
    peer = Server(fleet(1, ["a"]))
    peer.take(Request(CDS, held={"a": resource("a").version}))
    assert peer.drain() == []
    assert peer.session.applied == 1


def test_a_reconnecting_client_hears_of_gone_names_it_did_not_ask_for() -> None:
    peer = Server(world_of(1, {}))
    peer.take(Request(RDS, ("kept",), held={"other": "x"}))
    assert told(peer.drain()) == [("rds", [], ["kept", "other"])]


def test_a_name_subscribed_to_is_answered_even_if_the_client_has_it() -> None:
    peer = Server(fleet(1, ["a"]))
    peer.take(Request(EDS, ("a",), held={"a": resource("a").version}))
    assert told(peer.drain()) == [("eds", ["a"], [])]


def test_versions_held_count_on_the_first_request_only() -> None:
    peer = Server(fleet(1, ["a"]))
    peer.take(Request(CDS, held={"a": resource("a").version}))
    assert peer.drain() == []
    peer.take(Request(CDS, held={"a": "other"}))
    assert peer.drain() == []


def test_a_name_that_does_not_exist_is_removed_and_sent_when_it_appears() -> None:
    peer = Server(world_of(1, {}))
    peer.take(Request(RDS, ("r",)))
    (answer,) = peer.drain()
    assert told([answer]) == [("rds", [], ["r"])]
    peer.take(ack(answer))
    assert peer.drain() == []
    peer.snapshot = world_of(2, {RDS: {"r": "1"}})
    assert told(peer.drain()) == [("rds", ["r"], [])]


def test_a_route_that_disappears_is_removed_and_may_come_back() -> None:
    peer = Server(world_of(1, {RDS: {"r": "1"}}))
    peer.take(Request(RDS, ("r",)))
    peer.take(ack(peer.drain()[0]))
    peer.snapshot = world_of(2, {})
    (answer,) = peer.drain()
    assert told([answer]) == [("rds", [], ["r"])]
    peer.take(ack(answer))
    peer.snapshot = world_of(3, {RDS: {"r": "1"}})
    assert told(peer.drain()) == [("rds", ["r"], [])]


def test_unknown_endpoints_are_answered_to_an_envoy_as_having_none() -> None:
    peer = Server(world_of(1, {}))
    peer.take(Request(EDS, ("e",)))
    (answer,) = peer.drain()
    assert (answer.resources[0].body, answer.removed) == (b"\x0a\x01e", ())


def test_unknown_endpoints_are_removed_for_any_other_client() -> None:
    peer = Server(world_of(1, {}), Dialect.GRPC)
    peer.take(Request(EDS, ("e",)))
    assert told(peer.drain()) == [("eds", [], ["e"])]


def test_giving_up_an_unknown_name_is_ignored() -> None:
    peer = Server(fleet(1, ["a"]))
    peer.take(Request(EDS, ("a",)))
    peer.take(ack(peer.drain()[0]))
    peer.take(Request(EDS, unsubscribe=("never",)))
    assert peer.drain() == []


def test_a_name_given_up_is_no_longer_told_of() -> None:
    peer = Server(fleet(1, ["a", "b"]))
    peer.take(Request(EDS, ("a", "b")))
    peer.take(ack(peer.drain()[0]))
    peer.take(Request(EDS, unsubscribe=("a",)))
    peer.snapshot = world_of(2, {EDS: {"a": "2", "b": "1"}})
    assert peer.drain() == []


@pytest.mark.parametrize(("exists", "answer"), [(True, (["a"], [])), (False, ([], ["a"]))])
def test_giving_up_one_name_while_wanting_everything_is_answered(
    exists: bool, answer: tuple[list[str], list[str]]
) -> None:
    peer = Server(world_of(1, {LDS: {"a": "1"} if exists else {}}))
    peer.take(Request(LDS, ("*", "a")))
    peer.take(ack(peer.drain()[0]))
    peer.take(Request(LDS, unsubscribe=("a",)))
    assert told(peer.drain()) == [("lds", *answer)]


def test_wanting_everything_can_be_taken_back() -> None:
    peer = Server(world_of(1, {LDS: {"a": "1", "b": "1"}}))
    peer.take(Request(LDS, ("*", "a")))
    peer.take(ack(peer.drain()[0]))
    peer.take(Request(LDS, unsubscribe=("*",)))
    peer.snapshot = world_of(2, {LDS: {"a": "1", "b": "2"}})
    assert peer.drain() == []


def test_naming_one_cluster_keeps_the_wish_for_all() -> None:
    peer = Server(fleet(1, ["a"]))
    peer.take(Request(CDS))
    peer.take(ack(peer.drain()[0]))
    peer.take(Request(CDS, ("a",)))
    peer.take(ack(peer.drain()[0]))
    peer.snapshot = fleet(2, ["a", "b"])
    assert told(peer.drain()) == [("cds", ["b"], [])]


def test_a_subscription_on_a_request_with_an_old_nonce_counts() -> None:
    peer = Server(fleet(1, ["a", "b"]))
    peer.take(Request(EDS, ("a",)))
    peer.take(ack(peer.drain()[0]))
    assert peer.take(Request(EDS, ("b",), nonce="long-ago")) is Reply.NONE
    assert told(peer.drain()) == [("eds", ["b"], [])]


def test_refused_content_is_not_sent_again_and_newer_content_is() -> None:
    peer = Server(fleet(1, ["a"]))
    peer.take(Request(CDS))
    assert peer.take(ack(peer.drain()[0], error="bad")) is Reply.NACK
    assert peer.drain() == []
    peer.snapshot = fleet(2, ["a"])
    assert peer.drain() == []
    peer.snapshot = fleet(3, ["a"], contents={"a": "3"})
    assert told(peer.drain()) == [("cds", ["a"], [])]


def test_one_bad_cluster_does_not_keep_the_others_away() -> None:
    peer = Server(fleet(1, ["a", "b", "c", "d"]))
    peer.take(Request(CDS))
    accepted: set[str] = set()
    for _ in range(10):
        for answer in peer.drain():
            names = {r.name for r in answer.resources}
            bad = "c" in names
            peer.take(ack(answer, error="c is bad" if bad else None))
            accepted |= set() if bad else names
    assert accepted == {"a", "b", "d"}
    assert dict(peer.session.subscriptions[CDS].refused) == {"c": "c is bad"}


def test_a_group_to_retry_that_is_gone_meanwhile_is_dropped() -> None:
    peer = Server(world_of(1, {LDS: {"a": "1", "b": "1"}}))
    peer.take(Request(LDS))
    peer.take(ack(peer.drain()[0], error="bad"))
    peer.snapshot = world_of(2, {})
    (answer,) = peer.drain()
    assert told([answer]) == [("lds", [], ["a", "b"])]
    peer.take(ack(answer))
    assert peer.session.subscriptions[LDS].refusal == ""


def test_a_refused_removal_is_reported_and_forgotten() -> None:
    peer = Server(world_of(1, {LDS: {"a": "1"}}))
    peer.take(Request(LDS))
    peer.take(ack(peer.drain()[0]))
    peer.snapshot = world_of(2, {})
    peer.take(ack(peer.drain()[0], error="in use"))
    assert peer.drain() == []
    assert peer.session.subscriptions[LDS].refusal == "in use"


def test_names_that_come_and_go_leave_nothing_behind() -> None:
    peer = Server(world_of(1, {}))
    peer.take(Request(LDS))
    for serial in range(2, 40):
        peer.snapshot = world_of(serial, {LDS: {f"l{serial}": "1"}})
        for answer in peer.drain():
            peer.take(ack(answer))
    sub = peer.session.subscriptions[LDS]
    assert (len(sub.told), len(sub.known), len(sub.refused)) == (1, 1, 0)
