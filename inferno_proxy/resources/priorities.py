"""Calls of high priority: told by a header that the operator names, and limited apart from all other calls.

Envoy counts both kinds apart. Of a limit, calls of high priority may have all under way and all others four fifths, so
that ordinary calls are refused first. Both together never have more than 1.8 times the limit under way.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import RoutingPriority
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher, Route
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

HIGH = "high"
_ORDINARY_SHARE = 0.8


def ordinary_limit(limit: int) -> int:
    """What a limit leaves to ordinary calls.

    >>> ordinary_limit(100), ordinary_limit(1)
    (80, 1)
    """
    return max(1, int(limit * _ORDINARY_SHARE))


def by_priority(route: Route, header: str) -> tuple[bytes, ...]:
    """The encoded route, after one for calls of high priority if a header tells them."""
    ordinary = bytes(route)
    if not header or route.match is None or route.route is None:
        return (ordinary,)
    high = StringMatcher(exact=HIGH, ignore_case=True)
    route.match.headers = [HeaderMatcher(name=header, string_match=high)]
    route.route.priority = RoutingPriority.HIGH
    return bytes(route), ordinary
