"""Addresses that hold secrets: a webhook's path is often all that keeps others from posting to it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import pydantic
from pydantic_core import PydanticCustomError

# The kind of a mistake in a value that nobody may be shown.
BAD_SECRET = "bad_secret"  # noqa: S105 - it is a kind, and no password
_HIDDEN = "***"
# Shorter pieces of an address are words, and would be hidden in sentences that have nothing to do with it.
_SHORTEST = 8


def shown(url: str) -> str:
    """Where an address leads, without what may be secret: user, password, path, query and fragment.

    >>> shown("https://me:pw@hooks.example:8443/services/T0/x?token=1"), shown("http://127.0.0.1:9093")
    ('https://***@hooks.example:8443/***', 'http://127.0.0.1:9093')
    """
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    secret = parts.path.strip("/") or parts.query or parts.fragment
    return f"{parts.scheme}://{_HIDDEN if user else ''}{at}{host}{f'/{_HIDDEN}' if secret else ''}"


def hidden(text: str, url: str) -> str:
    """A text that somebody else wrote, without an address and without what may be secret of it.

    >>> hidden("no /hook/T0aaaaaaaa here, T0aaaaaaaa", "https://hooks.example/hook/T0aaaaaaaa")
    'no *** here, ***'
    """
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    path = parts.path if len(parts.path) > 1 else ""
    words = [*path.split("/"), *(word for each in parts.query.split("&") for word in each.split("=")), *user.split(":")]
    pieces = {path, parts.query, user, parts.fragment, f"{path}?{parts.query}" if parts.query else ""}
    pieces |= {word for word in words if len(word) >= _SHORTEST}
    text = text.replace(url, shown(url))
    for piece in sorted(filter(None, pieces), key=len, reverse=True):
        text = text.replace(piece, _HIDDEN)
    return text


def _checked(url: pydantic.SecretStr) -> pydantic.SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise PydanticCustomError(BAD_SECRET, "this is no address such as https://host:8443/path")
    return url


# http or https; whoever shows settings shows where it leads alone.
SecretUrl = Annotated[
    pydantic.SecretStr,
    pydantic.AfterValidator(_checked),
    pydantic.PlainSerializer(lambda url: shown(url.get_secret_value()), return_type=str, when_used="json"),
]
