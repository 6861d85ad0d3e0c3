from __future__ import annotations

import pytest

from inferno_proxy.publishing.snapshot import Dialect, Snapshot
from inferno_proxy.xds.sotw import Request
from inferno_proxy.xds.subscription import Reply
from tests.unit.inferno_proxy.xds.peers import CDS, EDS, LDS, RDS, Server, ack, fleet, resource, told, world_of


def server(snapshot: Snapshot, dialect: Dialect = Dialect.ENVOY) -> Server:
    return Server(snapshot, dialect, sotw_rules=True)


def test_naming_nothing_at_first_means_all_clusters() -> None:
    peer = server(fleet(1, ["a", "b"]))
    peer.take(Request(CDS))
    assert told(peer.drain()) == [("cds", ["a", "b"], [])]


def test_a_star_means_all_clusters() -> None:
    peer = server(fleet(1, ["a", "b"]))
    peer.take(Request(CDS, ("*",)))
    assert told(peer.drain()) == [("cds", ["a", "b"], [])]


def test_naming_nothing_at_first_means_no_endpoints() -> None:
    peer = server(fleet(1, ["a"]))
    peer.take(Request(EDS))
    assert peer.drain() == []


def test_naming_nothing_after_a_name_means_nothing_at_all() -> None:
    peer = server(fleet(1, ["a", "b"]), Dialect.GRPC)
    peer.take(Request(CDS, ("a",)))
    (first,) = peer.drain()
    peer.take(Request(CDS, (), nonce=first.nonce))
    assert peer.drain() == []
    peer.snapshot = fleet(2, ["a", "b"], contents={"a": "2"})
    assert peer.drain() == []


def test_clusters_that_do_not_exist_are_answered_with_none_at_all() -> None:
    peer = server(fleet(1, []), Dialect.GRPC)
    peer.take(Request(CDS, ("a",)))
    assert told(peer.drain()) == [("cds", [], [])]


def test_a_missing_route_is_sent_when_it_appears() -> None:
    peer = server(world_of(1, {}), Dialect.GRPC)
    peer.take(Request(RDS, ("r",)))
    assert peer.drain() == []
    peer.snapshot = world_of(2, {RDS: {"r": "1"}})
    assert told(peer.drain()) == [("rds", ["r"], [])]


def test_an_acknowledged_answer_is_not_sent_again() -> None:
    peer = server(fleet(1, ["a"]))
    peer.take(Request(CDS))
    (answer,) = peer.drain()
    assert peer.take(ack(answer, sotw_names=())) is Reply.ACK
    peer.snapshot = fleet(2, ["a"])
    assert peer.drain() == []
    assert peer.session.subscriptions[CDS].accepted == answer.version


def test_an_answer_of_clusters_is_complete_even_if_one_changed() -> None:
    peer = server(fleet(1, ["a", "b"]))
    peer.take(Request(CDS))
    peer.take(ack(peer.drain()[0], sotw_names=()))
    peer.snapshot = fleet(2, ["a", "b"], contents={"b": "2"})
    assert told(peer.drain()) == [("cds", ["a", "b"], [])]


def test_an_answer_of_endpoints_carries_what_changed_only() -> None:
    peer = server(fleet(1, ["a", "b"]))
    peer.take(Request(EDS, ("a", "b")))
    peer.take(ack(peer.drain()[0], sotw_names=("a", "b")))
    peer.snapshot = world_of(2, {EDS: {"a": "1", "b": "2"}})
    assert told(peer.drain()) == [("eds", ["b"], [])]


def test_only_one_answer_of_a_type_is_in_flight() -> None:
    peer = server(fleet(1, ["a"]))
    peer.take(Request(CDS))
    (first,) = peer.drain()
    peer.snapshot = fleet(2, ["a", "b"])
    assert peer.drain() == []
    peer.snapshot = fleet(3, ["a", "b", "c"])
    peer.take(ack(first, sotw_names=()))
    assert told(peer.drain()) == [("cds", ["a", "b", "c"], [])]


@pytest.mark.parametrize("error", ["bad regex", ""])
def test_a_refusal_is_recognised_by_its_error_and_ends_the_matter(error: str) -> None:
    peer = server(fleet(1, ["a"]))
    peer.take(Request(CDS))
    (answer,) = peer.drain()
    # The version is the one that is refused: comparing versions would call this an acceptance.
    refused = Request(CDS, nonce=answer.nonce, version=answer.version, error=error)
    assert peer.take(refused) is Reply.NACK
    assert peer.drain() == []
    assert peer.session.subscriptions[CDS].refusal == (error or "no reason given")
    assert peer.session.subscriptions[CDS].accepted == ""


def test_after_a_refusal_new_content_is_sent_and_clears_it() -> None:
    peer = server(fleet(1, ["a"]))
    peer.take(Request(CDS))
    peer.take(ack(peer.drain()[0], sotw_names=(), error="bad"))
    peer.snapshot = fleet(2, ["a"], contents={"a": "2"})
    (answer,) = peer.drain()
    peer.take(ack(answer, sotw_names=()))
    assert peer.session.subscriptions[CDS].refusal == ""


def test_after_a_refusal_the_content_before_it_is_sent_again() -> None:
    peer = server(fleet(1, ["a"]))
    peer.take(Request(CDS))
    peer.take(ack(peer.drain()[0], sotw_names=()))
    peer.snapshot = fleet(2, ["a"], contents={"a": "2"})
    peer.take(ack(peer.drain()[0], sotw_names=(), error="bad"))
    peer.snapshot = fleet(3, ["a"])
    assert told(peer.drain()) == [("cds", ["a"], [])]


def test_a_refused_answer_of_endpoints_is_taken_apart() -> None:
    peer = server(fleet(1, ["a", "b", "c"]))
    names = ("a", "b", "c")
    peer.take(Request(EDS, names))
    seen = []
    for _ in range(10):
        answers = peer.drain()
        if not answers:
            break
        (answer,) = answers
        seen.append([r.name for r in answer.resources])
        bad = any(r.name == "b" for r in answer.resources)
        peer.take(ack(answer, sotw_names=names, error="b is bad" if bad else None))
    assert seen == [["a", "b", "c"], ["a"], ["b", "c"], ["b"], ["c"]]
    assert dict(peer.session.subscriptions[EDS].refused) == {"b": "b is bad"}


def test_a_name_on_a_request_with_an_old_nonce_is_answered_after_the_answer_in_flight() -> None:
    peer = server(fleet(1, ["a", "b"]))
    peer.take(Request(EDS, ("a",)))
    (first,) = peer.drain()
    assert peer.take(Request(EDS, ("a", "b"), nonce="")) is Reply.NONE
    assert peer.drain() == []
    peer.take(ack(first, sotw_names=("a", "b")))
    assert told(peer.drain()) == [("eds", ["b"], [])]


def test_a_name_on_an_acknowledgement_is_a_change_of_subscription() -> None:
    peer = server(fleet(1, ["a", "b"]))
    peer.take(Request(EDS, ("a",)))
    (first,) = peer.drain()
    assert peer.take(ack(first, sotw_names=("a", "b"))) is Reply.ACK
    assert told(peer.drain()) == [("eds", ["b"], [])]


def test_a_name_given_up_and_named_again_is_sent_again() -> None:
    peer = server(fleet(1, ["a", "b"]))
    peer.take(Request(EDS, ("a", "b")))
    (first,) = peer.drain()
    peer.take(ack(first, sotw_names=("b",)))
    assert peer.drain() == []
    peer.take(Request(EDS, ("a", "b"), nonce=first.nonce))
    assert told(peer.drain()) == [("eds", ["a"], [])]


def test_a_newly_named_cluster_is_sent_even_if_unchanged() -> None:
    peer = server(fleet(1, ["a", "b"]), Dialect.GRPC)
    peer.take(Request(CDS, ("a",)))
    peer.take(ack(peer.drain()[0], sotw_names=("a", "b")))
    assert told(peer.drain()) == [("cds", ["a", "b"], [])]


def test_the_first_request_of_a_stream_is_answered_whatever_version_and_nonce_it_carries() -> None:
    peer = server(fleet(1, ["a"]))
    peer.take(Request(CDS))
    (before,) = peer.drain()
    again = server(fleet(1, ["a"]))
    again.take(Request(CDS, nonce="77", version=before.version))
    (answer,) = again.drain()
    assert answer.version == before.version


def test_a_repeated_request_with_nothing_in_flight_asks_again() -> None:
    peer = server(fleet(1, ["a", "b"]))
    peer.take(Request(EDS, ("a", "b")))
    (first,) = peer.drain()
    peer.take(ack(first, sotw_names=("a", "b")))
    assert peer.drain() == []
    assert peer.take(ack(first, sotw_names=("a", "b"))) is Reply.NONE
    assert told(peer.drain()) == [("eds", ["a", "b"], [])]


def test_a_repeated_request_does_not_bring_refused_content_back() -> None:
    peer = server(fleet(1, ["a"]))
    peer.take(Request(EDS, ("a",)))
    (first,) = peer.drain()
    peer.take(ack(first, sotw_names=("a",), error="bad"))
    peer.take(ack(first, sotw_names=("a",)))
    assert peer.drain() == []


def test_a_repeated_request_for_clusters_is_no_question() -> None:
    peer = server(fleet(1, ["a"]))
    peer.take(Request(CDS))
    (first,) = peer.drain()
    peer.take(ack(first, sotw_names=()))
    peer.take(ack(first, sotw_names=()))
    assert peer.drain() == []


def test_unknown_endpoints_are_answered_to_an_envoy_as_having_none() -> None:
    name = "gone" * 40
    peer = server(fleet(1, []))
    peer.take(Request(EDS, (name,)))
    (answer,) = peer.drain()
    assert answer.resources[0].body == b"\x0a\xa0\x01" + name.encode()
    peer.take(ack(answer, sotw_names=(name,)))
    peer.snapshot = fleet(2, [name])
    assert peer.drain()[0].resources == (resource(name),)


def test_unknown_endpoints_are_not_answered_to_a_grpc_client() -> None:
    peer = server(fleet(1, []), Dialect.GRPC)
    peer.take(Request(EDS, ("gone",)))
    assert peer.drain() == []


def test_an_empty_snapshot_of_listeners_is_said_so() -> None:
    peer = server(world_of(1, {}))
    peer.take(Request(LDS))
    assert told(peer.drain()) == [("lds", [], [])]


def test_a_listener_that_is_gone_is_gone_from_the_next_answer() -> None:
    peer = server(world_of(1, {LDS: {"a": "1", "b": "1"}}))
    peer.take(Request(LDS))
    peer.take(ack(peer.drain()[0], sotw_names=()))
    peer.snapshot = world_of(2, {LDS: {"b": "1"}})
    assert told(peer.drain()) == [("lds", ["b"], [])]
