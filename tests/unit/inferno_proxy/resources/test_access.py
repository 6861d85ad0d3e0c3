from __future__ import annotations

from dataclasses import replace

from inferno_proxy.resources.access import BUDGETS_FILTER, CLIENT_RATE_FILTER, NAMES_FILTER, client_limits
from inferno_proxy.resources.listeners import listener_resource
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.routing.access import Budget, Client
from inferno_proxy.routing.traffic import Rate

OPEN = ResourceSettings("/c.sock", "/h.sock")
ONE = replace(OPEN, clients=(Client("a", ("a" * 64,)),))


def test_clients_come_and_go_without_another_listener() -> None:
    others = (Client("b", ("b" * 64,), models=("m",)), Client("c", ("c" * 64,), rate=Rate(1), budget=Budget(1, 3600)))
    assert listener_resource(replace(ONE, clients=others)) == listener_resource(ONE)
    assert listener_resource(OPEN) != listener_resource(ONE)


def test_a_filter_that_no_client_needs_is_in_nobodys_way() -> None:
    needs = {
        (): {NAMES_FILTER, BUDGETS_FILTER},
        (Client("b", models=("m",)),): {BUDGETS_FILTER},
        (Client("c", budget=Budget(1, 3600)),): {NAMES_FILTER},
        (Client("d", rate=Rate(1)),): {NAMES_FILTER, BUDGETS_FILTER, CLIENT_RATE_FILTER},
    }
    for more, named in needs.items():
        assert set(client_limits(replace(ONE, clients=(*ONE.clients, *more)))) == named
    assert client_limits(OPEN) == {}
