from __future__ import annotations

import pytest

from inferno_proxy.identity.caller import ANONYMOUS, LOCAL, Caller, Kind, caller_from


@pytest.mark.parametrize(
    ("headers", "caller"),
    [
        ({}, LOCAL),
        ({"x-inferno-client": "a", "x-inferno-role": "operator"}, LOCAL),
        ({"x-inferno-door": "open", "x-inferno-client": "a"}, Caller(Kind.OPEN)),
        ({"x-inferno-door": "public"}, ANONYMOUS),
        ({"x-inferno-door": "public", "x-inferno-client": "a"}, Caller(Kind.CLIENT, "a")),
        (
            {"x-inferno-door": "public", "x-inferno-client": "a", "x-inferno-role": "operator"},
            Caller(Kind.OPERATOR, "a"),
        ),
        ({"x-inferno-door": "public", "x-forwarded-client-cert": "URI=spiffe://m/operator/eve"}, ANONYMOUS),
        (
            {"x-inferno-door": "mesh", "x-forwarded-client-cert": "Hash=00;URI=spiffe://m/node/n1"},
            Caller(Kind.NODE, "n1"),
        ),
        ({"x-inferno-door": "mesh", "x-forwarded-client-cert": "URI=spiffe://m/proxy/p"}, Caller(Kind.PROXY, "p")),
        ({"x-inferno-door": "mesh", "x-forwarded-client-cert": "URI=https://m/proxy/p"}, ANONYMOUS),
        ({"x-inferno-door": "mesh", "x-inferno-client": "a"}, ANONYMOUS),
        ({"x-inferno-door": "window", "x-inferno-client": "a"}, ANONYMOUS),
    ],
)
def test_a_caller_is_who_envoy_says(headers: dict[str, str], caller: Caller) -> None:
    assert caller_from(headers) == caller
