"""Headers that steer the data plane are not taken from outside: Envoy drops them before a route is chosen or a filter
sees them.

A client may send what its calls are found, kept together and explained by (:data:`FROM_CLIENTS`), and what the settings
ask it for. A trusted peer, a gateway that has done the same, may send all but those that say who calls.
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutation as Mutation
from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutationRemoveOnMatch
from envoy_data_plane.envoy.config.core.v3 import TypedExtensionConfig
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation.v3 import HeaderMutation
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher

from inferno_proxy.resources.names import ACCESS_HEADER, EXPLAIN_HEADER, MODEL_HEADER, SEQUENCE_HEADER, SUBJECT_HEADER
from inferno_proxy.resources.packing import packed
from inferno_runtime.identity.caller import CLIENT, DOOR, ROLE

FROM_CLIENTS = (MODEL_HEADER, SEQUENCE_HEADER, EXPLAIN_HEADER)
_PREFIX = "x-inferno-"
# Who calls: Envoy finds that out itself, whoever the peer is.
_IDENTITY = (DOOR, CLIENT, ROLE, ACCESS_HEADER, SUBJECT_HEADER)


def outside_headers(asked_for: Iterable[str], *, trusted: bool) -> TypedExtensionConfig:
    """What is dropped from each request. ``asked_for``: headers that the settings read, in lower case."""
    if trusted:
        pattern = "|".join(_IDENTITY)
    else:
        allowed = {name for name in (*FROM_CLIENTS, *asked_for) if name.startswith(_PREFIX)} - set(_IDENTITY)
        pattern = f"x-(?:envoy-.*|inferno-{all_but(name.removeprefix(_PREFIX) for name in allowed)})"
    matcher = StringMatcher(safe_regex=RegexMatcher(regex=pattern))
    dropped = Mutation(remove_on_match=HeaderMutationRemoveOnMatch(key_matcher=matcher))
    return TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=packed(HeaderMutation(mutations=[dropped])),
    )


def all_but(words: Iterable[str]) -> str:
    """A regular expression of every text that is none of ``words``, header names; RE2 has no negation of its own.

    >>> all_but(["a"])
    '(?:|[^a].*|a(?:.+))'
    """
    rest = set(words)
    empty = "" in rest
    rest.discard("")
    if not rest:
        return "(?:.+)" if empty else "(?:.*)"
    first = sorted({word[0] for word in rest})
    # A dash comes first in a class, where it means itself; header names hold nothing else that is special there but ^.
    known = "".join(f"\\{one}" if one in "^-" else one for one in first)
    branches = [f"{_literal(one)}{all_but(word[1:] for word in rest if word[0] == one)}" for one in first]
    return "(?:" + "|".join([*([] if empty else [""]), f"[^{known}].*", *branches]) + ")"


def _literal(one: str) -> str:
    return one if one.isalnum() or one in "-_~!#%&'`" else f"\\{one}"
