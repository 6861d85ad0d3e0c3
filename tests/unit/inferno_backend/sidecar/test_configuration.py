"""Where a sidecar leads. What it does with all else is shown with a real Envoy (tests/integration)."""

from __future__ import annotations

from typing import Any

import pytest

from inferno_backend.node import NOWHERE, Endpoints
from inferno_backend.sidecar.configuration import leading_to


def clusters(triton: Endpoints) -> dict[str, Any]:
    resources: Any = leading_to(triton)["resources"]
    return {each["name"]: each for each in resources}


@pytest.mark.parametrize(
    ("address", "kind", "host"),
    [
        ("127.0.0.1:8001", "STATIC", "127.0.0.1"),
        ("[::1]:8001", "STATIC", "::1"),
        ("triton.example:8001", "STRICT_DNS", "triton.example"),
    ],
)
def test_an_address_leads_there_and_a_name_is_looked_up(address: str, kind: str, host: str) -> None:
    found = clusters(Endpoints(address))["grpc"]
    (place,) = found["load_assignment"]["endpoints"]
    assert found["type"] == kind
    assert place["lb_endpoints"][0]["endpoint"]["address"]["socket_address"] == {"address": host, "port_value": 8001}


def test_where_nothing_is_nobody_gets_through() -> None:
    assert [each["load_assignment"]["endpoints"] for each in clusters(NOWHERE).values()] == [[], []]
