from __future__ import annotations

import pytest

from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.join_token import JoinToken

PIN = "0123456789abcdef" * 4


def test_a_token_is_read_back_as_it_was_written() -> None:
    token = JoinToken.make(PIN)
    assert JoinToken.parse(f"  {token}\n") == token
    assert len({JoinToken.make(PIN).secret for _ in range(100)}) == 100


def test_the_secret_does_not_show_where_values_are_printed() -> None:
    token = JoinToken.make(PIN)
    assert token.secret not in repr(token)
    assert token.secret in str(token)


@pytest.mark.parametrize(
    "text", ["", "inferno", f"inferno.a.b.{PIN}", f"kube.abcdefgh.{'s' * 32}.{PIN}", f"inferno.abcdefgh.{'s' * 32}"]
)
def test_what_is_no_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        JoinToken.parse(text)
    assert refused.value.reason == "BAD_TOKEN"
    assert "s" * 32 not in refused.value.sentence()
