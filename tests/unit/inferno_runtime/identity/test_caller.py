from __future__ import annotations

import pytest

from inferno_runtime.identity.caller import ANONYMOUS, LOCAL, Caller, Kind, caller_from


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
        # Another CA than the mesh's has signed it: its roles mean nothing here.
        (
            {"x-inferno-door": "public", "x-forwarded-client-cert": "URI=spiffe://m/operator/eve"},
            Caller(Kind.CLIENT, "eve"),
        ),
        (
            {"x-inferno-door": "public", "x-forwarded-client-cert": 'Hash=0;Subject="CN=a\\, b,O=x\\;URI=c";URI='},
            Caller(Kind.CLIENT, "a, b"),
        ),
        (
            {"x-inferno-door": "public", "x-forwarded-client-cert": 'Hash=0;Subject="O=x,C=DE";URI='},
            Caller(Kind.CLIENT, "O=x,C=DE"),
        ),
        ({"x-inferno-door": "public", "x-forwarded-client-cert": 'Subject="nonsense"'}, ANONYMOUS),
        ({"x-inferno-door": "public", "x-forwarded-client-cert": 'Hash=0;Subject="";URI='}, ANONYMOUS),
        (
            {
                "x-inferno-door": "public",
                "x-forwarded-client-cert": "URI=spiffe://m/client/a",
                "x-inferno-client": "key",
            },
            Caller(Kind.CLIENT, "key"),
        ),
        (
            {"x-inferno-door": "mesh", "x-forwarded-client-cert": "Hash=00;URI=spiffe://m/node/n1"},
            Caller(Kind.NODE, "n1"),
        ),
        ({"x-inferno-door": "mesh", "x-forwarded-client-cert": "URI=spiffe://m/proxy/p"}, Caller(Kind.PROXY, "p")),
        ({"x-inferno-door": "mesh", "x-forwarded-client-cert": "URI=https://m/proxy/p"}, ANONYMOUS),
        (
            {"x-inferno-door": "mesh", "x-forwarded-client-cert": 'Subject="CN=;URI=spiffe://m/operator/eve";URI='},
            ANONYMOUS,
        ),
        ({"x-inferno-door": "mesh", "x-inferno-client": "a"}, ANONYMOUS),
        ({"x-inferno-door": "window", "x-inferno-client": "a"}, ANONYMOUS),
    ],
)
def test_a_caller_is_who_envoy_says(headers: dict[str, str], caller: Caller) -> None:
    assert caller_from(headers) == caller
