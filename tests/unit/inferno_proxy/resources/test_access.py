from __future__ import annotations

from dataclasses import replace

from inferno_proxy.resources.listeners import listener_resource
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.routing.access import Client
from inferno_proxy.routing.traffic import Rate

OPEN = ResourceSettings("/c.sock", "/h.sock")
ONE = replace(OPEN, clients=(Client("a", ("a" * 64,)),))


def test_clients_come_and_go_without_another_listener() -> None:
    others = (Client("b", ("b" * 64,), models=("m",)), Client("c", ("c" * 64,), rate=Rate(1)))
    assert listener_resource(replace(ONE, clients=others)) == listener_resource(ONE)
    assert listener_resource(OPEN) != listener_resource(ONE)
