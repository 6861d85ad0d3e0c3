"""The governator's drains in a proxy's registry: made, told of, renewed and taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferno.governance.v1 import drain_pb2
from inferno_proxy.audit import AuditLog
from inferno_proxy.fleet import Phase
from inferno_proxy.orders.drains import LEASE, RENEW, SETTLE, Draining
from tests.unit.inferno_proxy.nodes import node
from tests.unit.inferno_proxy.registries import World


class Proxy:
    """A registry with the nodes a and b, and what drains them."""

    def __init__(self, folder: Path) -> None:
        self.world = World()
        for place, name in enumerate(("a", "b")):
            self.world.registry.join(node(name, port=8001 + place))
        self.under_way = 0
        self.audit = AuditLog(folder / "audit.log", self.world.clock)
        self.draining = Draining("", "p", self.world.registry, lambda _: self.under_way, self.audit, self.world.clock)

    def wish(self, *nodes: str, known: bool = True) -> None:
        wishes = [drain_pb2.DrainWish(node_id=each, reason="idle") for each in nodes]
        self.draining.follow(drain_pb2.ExchangeDrainsResponse(known=known, drains=wishes))

    def told(self) -> list[tuple[str, bool, bool, int]]:
        return [(each.node_id, each.known, each.drained, each.in_flight) for each in self.draining.report().nodes]

    def actions(self) -> list[tuple[str, str]]:
        return [(each.action, each.subject) for each in reversed(self.audit.newest())]


@pytest.fixture
def proxy(tmp_path: Path) -> Proxy:
    return Proxy(tmp_path)


async def test_a_wish_drains_its_node_alone_and_its_end_gives_it_back(proxy: Proxy) -> None:
    proxy.wish("a")
    assert (proxy.world.phase("a"), proxy.world.phase("b")) == (Phase.DRAINING, Phase.SERVING)
    proxy.wish("a")
    proxy.wish()
    assert proxy.world.phase("a") is Phase.SERVING
    assert proxy.told() == []
    assert proxy.actions() == [("DRAIN_NODE", "a"), ("UNDRAIN_NODE", "a")]


async def test_a_node_counts_as_drained_when_what_was_sent_before_has_been_counted(proxy: Proxy) -> None:
    proxy.under_way = 2
    proxy.wish("a")
    assert proxy.told() == [("a", True, False, 2)]
    await proxy.world.clock.advance(SETTLE)
    assert proxy.told() == [("a", True, True, 2)]
    proxy.under_way = 0
    assert proxy.told() == [("a", True, True, 0)]


async def test_a_node_that_nobody_knows_is_told_as_such(proxy: Proxy) -> None:
    proxy.wish("gone")
    assert proxy.told() == [("gone", False, False, 0)]
    proxy.wish()
    assert proxy.told() == []


async def test_a_governator_that_does_not_know_yet_changes_nothing(proxy: Proxy) -> None:
    proxy.wish("a")
    proxy.wish(known=False)
    assert proxy.world.phase("a") is Phase.DRAINING


async def test_an_operators_own_drain_stays(proxy: Proxy) -> None:
    proxy.world.registry.drain("a")
    proxy.wish("a")
    proxy.wish()
    assert proxy.world.phase("a") is Phase.DRAINING
    assert proxy.actions() == []


async def test_a_drain_ends_by_itself_when_nobody_wishes_it_any_more(proxy: Proxy) -> None:
    proxy.wish("a")
    await proxy.world.clock.advance(LEASE - RENEW + 1)
    proxy.wish("a")
    await proxy.world.clock.advance(LEASE - 1)
    proxy.world.registry.expire()
    assert proxy.world.phase("a") is not Phase.SERVING
    await proxy.world.clock.advance(2)
    proxy.world.registry.expire()
    assert "drained" not in proxy.world.reason("a")
