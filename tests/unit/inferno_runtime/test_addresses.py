from __future__ import annotations

import pytest

from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:8001", ("127.0.0.1", 8001)),
        ("[::1]:8001", ("::1", 8001)),
        ("host.example:1", ("host.example", 1)),
        ("h:65535", ("h", 65535)),
    ],
)
def test_host_and_port_are_split(text: str, parsed: tuple[str, int]) -> None:
    assert parse_address(text) == parsed


@pytest.mark.parametrize("text", ["", "h", ":1", "h:", "h:0", "h:65536", "h:x", "::1:80", "h:-1", "h:٣", "[]:80"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_address(text, "backend")
    assert caught.value.message.startswith(f"backend {text!r} is not host:port")
    assert "10.0.0.7:8001" in caught.value.fix
