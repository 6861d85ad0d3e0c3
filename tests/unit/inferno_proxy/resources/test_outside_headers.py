from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from inferno_proxy.resources.outside_headers import FROM_CLIENTS, all_but, outside_headers

ROOT = Path(__file__).parents[4]
NAMES = st.text("abz-09_~^.!|$*+", max_size=6)


@given(words=st.sets(NAMES, max_size=5), other=NAMES)
def test_everything_else_matches_and_no_word_does(words: set[str], other: str) -> None:
    pattern = re.compile(all_but(words))
    assert not [word for word in words if pattern.fullmatch(word)]
    assert (pattern.fullmatch(other) is None) == (other in words)


def dropped(*asked_for: str, trusted: bool = False) -> set[str]:
    made = outside_headers(asked_for, trusted=trusted)
    assert made.typed_config is not None
    pattern = re.search(rb"x-[ -~]*", made.typed_config.value)
    assert pattern is not None
    sent = ("model", "sequence", "priority", "door", "client", "role", "access", "subject", "fingerprint", "anything")
    headers = [f"x-inferno-{name}" for name in sent] + ["x-envoy-retry-on", "x-envoyed", "authorization"]
    return {name.removeprefix("x-inferno-") for name in headers if re.fullmatch(pattern[0].decode(), name)}


def test_what_steers_is_dropped_but_what_clients_are_asked_for() -> None:
    identity = {"door", "client", "role", "access", "subject"}
    steering = {"fingerprint", "anything", "x-envoy-retry-on"}
    assert dropped() == identity | steering | {"priority"}
    assert dropped("x-inferno-priority", "x-session") == identity | steering
    assert dropped(trusted=True) == identity


def test_no_setting_makes_a_client_say_who_it_is() -> None:
    assert "role" in dropped("x-inferno-role")


def test_what_clients_may_send_is_what_the_users_are_told() -> None:
    told = (ROOT / "docs/clients.md").read_text().partition("## Headers from outside")[2]
    assert sorted(re.findall(r"^\| `(x-inferno-[a-z-]+)` \|", told, re.MULTILINE)) == sorted(FROM_CLIENTS)
