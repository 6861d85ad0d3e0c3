from __future__ import annotations

import re

from inferno_runtime.identity.api_keys import hash_of, new_key


def test_a_key_is_one_word_that_nobody_had_before() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"inf_[A-Za-z0-9_-]{43}", key) for key in keys)


def test_of_a_key_its_hash_is_kept() -> None:
    assert hash_of("abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
