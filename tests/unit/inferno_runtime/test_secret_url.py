from __future__ import annotations

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_runtime.secret_url import SecretUrl, hidden, shown

_WORD = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=8, max_size=20)


class Hook(pydantic.BaseModel):
    """Settings with an address."""

    url: SecretUrl


@given(_WORD, _WORD, _WORD, _WORD, st.text(max_size=30))
def test_no_part_of_an_address_but_where_it_leads_is_ever_shown(
    user: str, password: str, path: str, token: str, around: str
) -> None:
    url = f"https://{user}:{password}@[::1]:8443/services/{path}?token={token}#{path}"
    told = (
        *(shown(url), repr(Hook(url=url)), str(Hook(url=url)), Hook(url=url).model_dump_json()),  # type: ignore[arg-type]
        *(hidden(f"{around}{each}{around}", url) for each in (url, f"/services/{path}", path, token, f"/x/{path}?y")),
    )
    for each in told:
        rest = each.replace(around, "") if around else each
        assert not any(secret in rest for secret in (user, password, path, token))
    assert shown(url) == "https://***@[::1]:8443/***"


def test_an_address_without_a_secret_is_shown_whole() -> None:
    assert Hook(url="http://am.example:9093").model_dump(mode="json") == {"url": "http://am.example:9093"}  # type: ignore[arg-type]
    assert hidden("it answers 404 'no page /'", "http://am.example:9093/") == "it answers 404 'no page /'"


@pytest.mark.parametrize(
    "wrong",
    ["htps://h/sEcReT", "https:///sEcReT", "h/sEcReT", "https://[::1/sEcReT", "https://h:sEcReT/", "http://h:0/sEcReT"],
)
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        Hook(url=wrong)  # type: ignore[arg-type]
    assert refused.value.errors()[0]["msg"] == "this is no address such as https://host:8443/path"
