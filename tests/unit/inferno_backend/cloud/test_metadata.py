"""What a metadata service answers, read."""

from __future__ import annotations

import pytest

from inferno_backend.cloud.metadata import Answer, told
from inferno_runtime.errors import Unavailable


@pytest.mark.parametrize("text", ["", "<html>", "[1]"])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(Unavailable, match="no JSON object"):
        Answer(200, text).document()


def test_the_time_is_the_services_own_where_it_tells_it() -> None:
    assert Answer(200, "", {"date": "Tue, 14 Nov 2023 22:13:20 GMT"}).wall(5.0) == 1_700_000_000
    assert Answer(200, "", {"date": "today"}).wall(5.0) == 5.0
    assert Answer(200, "").wall(5.0) == 5.0


def test_nothing_there_is_an_answer_and_a_refusal_is_none() -> None:
    assert told("/p", Answer(404, "no such page")) == ""
    assert told("/p", Answer(200, "text")) == "text"
    with pytest.raises(Unavailable, match=r"answered 403 at /p\."):
        told("/p?query", Answer(403, ""))
