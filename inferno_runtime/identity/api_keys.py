"""API keys: how one is made, and what of it is kept.

A key is 256 random bits, so its plain SHA-256 is as hard to reverse as the key is to guess: slow hashes are for secrets
that people think up.
"""

from __future__ import annotations

import hashlib
import secrets

# So that a key that turns up somewhere is known for one, by people and by scanners of leaked secrets.
_PREFIX = "inf_"


def new_key() -> str:
    """A key that nobody has had before."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """What ``proxy.clients`` holds of a key.

    >>> hash_of("abc")
    'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    """
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()
