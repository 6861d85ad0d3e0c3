from __future__ import annotations

import pytest

from inferno_proxy.publishing.snapshot import Dialect
from inferno_proxy.xds import delta, sotw
from inferno_proxy.xds.order import Bounds
from tests.unit.inferno_proxy.xds.peers import CDS, EDS, LDS, RDS, Server, ack, fleet, told, world_of


def settled_delta(*clusters: str) -> Server:
    """A server whose Envoy has everything of a fleet with these clusters."""
    peer = Server(fleet(1, clusters))
    for request in (
        delta.Request(CDS),
        delta.Request(EDS, clusters),
        delta.Request(LDS),
        delta.Request(RDS, ("public",)),
    ):
        peer.take(request)
    accept(peer)
    assert peer.session.applied == 1
    return peer


def settled_sotw(*clusters: str, dialect: Dialect = Dialect.ENVOY) -> Server:
    peer = Server(fleet(1, clusters), dialect, sotw_rules=True)
    for request in (
        sotw.Request(CDS),
        sotw.Request(EDS, clusters),
        sotw.Request(LDS),
        sotw.Request(RDS, ("public",)),
    ):
        peer.take(request)
    accept(peer)
    assert peer.session.applied == 1
    return peer


def accept(peer: Server) -> None:
    """Acknowledge until there is nothing left to send."""
    while answers := peer.drain():
        for answer in answers:
            names = peer.session.subscriptions[answer.type].names
            peer.take(ack(answer, sotw_names=sorted(names) if peer.sotw_rules else None))


def test_types_go_out_in_the_order_clusters_endpoints_listeners_routes() -> None:
    peer = settled_delta("a")
    peer.snapshot = world_of(2, {CDS: {"a": "2"}, EDS: {"a": "2"}, LDS: {"public": "2"}, RDS: {"public": "2"}})
    assert [kind for kind, _, _ in told(peer.drain())] == ["cds", "eds", "lds", "rds"]


def test_a_route_waits_until_the_client_has_the_new_cluster_and_its_endpoints() -> None:
    peer = settled_delta("a")
    peer.snapshot = fleet(2, ["b"], route="b")
    (clusters,) = peer.drain()
    assert told([clusters]) == [("cds", ["b"], [])]
    peer.take(ack(clusters))
    assert peer.drain() == []
    peer.take(delta.Request(EDS, ("b",)))
    (endpoints,) = peer.drain()
    assert told([endpoints]) == [("eds", ["b"], [])]
    assert peer.drain() == []
    peer.take(ack(endpoints))
    assert told(peer.drain()) == [("rds", ["public"], [])]


def test_a_gone_cluster_is_removed_once_the_route_is_accepted() -> None:
    peer = settled_delta("a", "b")
    peer.snapshot = fleet(2, ["b"], route="b")
    (routes,) = peer.drain()
    assert told([routes]) == [("rds", ["public"], [])]
    peer.take(ack(routes))
    (clusters,) = peer.drain()
    assert told([clusters]) == [("cds", [], ["a"])]
    peer.take(delta.Request(EDS, unsubscribe=("a",)))
    peer.take(ack(clusters))
    assert peer.drain() == []
    assert peer.session.applied == 2


def test_a_gone_cluster_stays_in_complete_answers_until_the_route_is_accepted() -> None:
    peer = settled_sotw("a")
    peer.snapshot = fleet(2, ["b"], route="b")
    (both,) = peer.drain()
    assert told([both]) == [("cds", ["a", "b"], [])]
    peer.take(ack(both, sotw_names=()))
    peer.take(sotw.Request(EDS, ("a", "b"), nonce=peer.session.subscriptions[EDS].nonce))
    (endpoints,) = peer.drain()
    peer.take(ack(endpoints, sotw_names=("a", "b")))
    (routes,) = peer.drain()
    assert told([endpoints, routes]) == [("eds", ["b"], []), ("rds", ["public"], [])]
    peer.take(ack(routes, sotw_names=("public",)))
    (after,) = peer.drain()
    assert told([after]) == [("cds", ["b"], [])]
    assert after.version != both.version


def test_a_gone_cluster_that_nothing_routes_to_is_removed_at_once() -> None:
    peer = settled_delta("a", "b")
    peer.snapshot = fleet(2, ["b"])
    assert told(peer.drain()) == [("cds", [], ["a"])]


def test_a_refused_route_keeps_gone_clusters_until_the_bound() -> None:
    peer = settled_delta("a", "b")
    peer.snapshot = fleet(2, ["b"], route="b")
    peer.take(ack(peer.drain()[0], error="bad route"))
    assert peer.drain() == []
    assert peer.look_again == 10.0
    peer.now = 10.0
    assert told(peer.drain()) == [("cds", [], ["a"]), ("eds", ["a"], [])]


def test_gone_clusters_are_not_removed_before_a_reconnecting_client_has_asked_for_routes() -> None:
    peer = Server(fleet(2, ["b"], route="b"))
    held = {"a": "x", "b": fleet(2, ["b"]).resources[next(iter(fleet(2, []).resources))]["b"].version}
    peer.take(delta.Request(CDS, held=held))
    assert peer.drain() == []
    peer.take(delta.Request(EDS, ("b",)))
    peer.take(delta.Request(LDS))
    peer.take(delta.Request(RDS, ("public",)))
    first = peer.drain()
    assert ("cds", [], ["a"]) not in told(first)
    for answer in first:
        peer.take(ack(answer))
    second = peer.drain()
    for answer in second:
        peer.take(ack(answer))
    assert ("cds", [], ["a"]) in told(second) + told(peer.drain())


def test_a_client_that_never_asks_for_the_endpoints_gets_its_route_after_the_bound() -> None:
    peer = settled_delta("a")
    peer.snapshot = fleet(2, ["a", "b"], route="b")
    peer.take(ack(peer.drain()[0]))
    assert peer.drain() == []
    assert peer.look_again == 1.0
    peer.now = 0.9
    assert peer.drain() == []
    peer.now = 1.0
    assert told(peer.drain()) == [("rds", ["public"], [])]


def test_snapshots_that_keep_coming_do_not_extend_the_wait() -> None:
    peer = settled_delta("a")
    for serial in range(2, 12):
        peer.snapshot = fleet(serial, ["a", "b"], route="b", contents={"a": str(serial)})
        answers = peer.drain()
        if any(a.type == RDS for a in answers):
            break
        for answer in answers:
            peer.take(ack(answer))
        peer.now += 0.2
    assert peer.now == pytest.approx(1.0)


def test_listeners_and_routes_share_one_wait() -> None:
    peer = settled_delta("a")
    peer.snapshot = world_of(
        2, {CDS: {"a": "1", "b": "1"}, EDS: {"a": "1", "b": "1"}, LDS: {"public": "2"}, RDS: {"public": "2"}}
    )
    peer.take(ack(peer.drain()[0]))
    assert peer.drain() == []
    peer.now = 1.0
    assert [kind for kind, _, _ in told(peer.drain())] == ["lds", "rds"]


def test_a_refused_cluster_does_not_hold_up_routes() -> None:
    peer = settled_delta("a")
    peer.snapshot = fleet(2, ["a", "b"], route="b")
    peer.take(ack(peer.drain()[0], error="bad cluster"))
    assert told(peer.drain()) == [("rds", ["public"], [])]


def test_a_changed_cluster_has_its_endpoints_sent_again() -> None:
    peer = settled_delta("a", "b")
    peer.snapshot = fleet(2, ["a", "b"], contents={"a": "2"})
    assert told(peer.drain()) == [("cds", ["a"], []), ("eds", ["a"], [])]


def test_an_envoy_that_asks_for_endpoints_of_a_warming_cluster_is_answered() -> None:
    peer = settled_sotw("a", "b")
    peer.snapshot = fleet(2, ["a", "b"], contents={"a": "2"})
    clusters, endpoints = peer.drain()
    assert told([clusters, endpoints]) == [("cds", ["a", "b"], []), ("eds", ["a"], [])]
    for answer, names in ((clusters, ()), (endpoints, ("a", "b"))):
        peer.take(ack(answer, sotw_names=names))
    assert peer.drain() == []
    # What Envoy sends now looks like its last acknowledgement.
    peer.take(ack(endpoints, sotw_names=("a", "b")))
    assert told(peer.drain()) == [("eds", ["a"], [])]


def test_a_changed_listener_has_its_routes_sent_again() -> None:
    peer = settled_delta("a")
    peer.snapshot = world_of(2, {CDS: {"a": "1"}, EDS: {"a": "1"}, LDS: {"public": "2"}, RDS: {"public": "1"}})
    assert told(peer.drain()) == [("lds", ["public"], []), ("rds", ["public"], [])]


def test_a_removed_listener_does_not_repeat_routes() -> None:
    peer = settled_delta("a")
    peer.snapshot = world_of(2, {CDS: {"a": "1"}, EDS: {"a": "1"}, RDS: {"public": "1"}})
    assert told(peer.drain()) == [("lds", [], ["public"])]


def test_endpoints_that_are_gone_are_not_blanked_while_routes_use_them() -> None:
    peer = settled_delta("a", "b")
    peer.snapshot = fleet(2, ["b"], route="b")
    routes = peer.drain()
    assert [kind for kind, _, _ in told(routes)] == ["rds"]
    # A client that does not give them up by itself is told in the end.
    for answer in routes:
        peer.take(ack(answer))
    accept(peer)
    peer.now = 60.0
    assert [(a.type, a.resources[0].body) for a in peer.drain()] == [(EDS, b"\x0a\x01a")]


def test_a_grpc_client_gets_its_route_without_waiting_for_clusters_it_did_not_ask_for() -> None:
    peer = Server(fleet(1, ["a"]), Dialect.GRPC, sotw_rules=True)
    peer.take(sotw.Request(LDS, ("public",)))
    peer.take(sotw.Request(RDS, ("public",)))
    assert [kind for kind, _, _ in told(peer.drain())] == ["lds", "rds"]


def test_a_named_cluster_that_is_gone_stays_until_the_client_gives_it_up() -> None:
    peer = Server(fleet(1, ["a"]), Dialect.GRPC, sotw_rules=True)
    for request in (
        sotw.Request(LDS, ("public",)),
        sotw.Request(RDS, ("public",)),
        sotw.Request(CDS, ("a",)),
        sotw.Request(EDS, ("a",)),
    ):
        peer.take(request)
    accept(peer)
    peer.snapshot = fleet(2, ["b"], route="b")
    accept(peer)
    assert peer.drain() == []
    peer.take(sotw.Request(CDS, ("a", "b"), nonce=peer.session.subscriptions[CDS].nonce))
    assert told(peer.drain()) == [("cds", ["a", "b"], [])]


def test_bounds_are_settings() -> None:
    peer = settled_delta("a")
    peer.bounds = Bounds(additions=0.0)
    peer.snapshot = fleet(2, ["a", "b"], route="b")
    assert [kind for kind, _, _ in told(peer.drain())] == ["cds", "rds"]


def test_a_type_that_is_not_served_is_answered_as_missing() -> None:
    peer = Server(fleet(1, ["a"]))
    secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    peer.take(delta.Request(secret, ("certificate",)))
    (answer,) = peer.drain()
    assert (answer.type, answer.removed) == (secret, ("certificate",))


def test_nothing_subscribed_is_nothing_applied() -> None:
    assert Server(fleet(1, ["a"])).session.applied == 0


def test_a_snapshot_without_changes_for_the_client_is_applied_at_once() -> None:
    peer = settled_delta("a")
    peer.snapshot = fleet(2, ["a"])
    assert peer.drain() == []
    assert peer.session.applied == 2


def test_an_answer_in_flight_holds_back_what_is_applied() -> None:
    peer = settled_delta("a")
    peer.snapshot = world_of(2, {CDS: {"a": "1"}, EDS: {"a": "2"}, LDS: {"public": "1"}, RDS: {"public": "1"}})
    (answer,) = peer.drain()
    assert peer.session.applied == 1
    peer.take(ack(answer, error="refused, which is an answer too"))
    peer.drain()
    assert peer.session.applied == 2
