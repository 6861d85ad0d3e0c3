"""What loop 2 advises: the one value that the plan takes from observation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# The weight of an endpoint as good as the best; the least weight still gets a call now and then, or nobody would learn
# that the endpoint is well again.
FULL_WEIGHT = 1000
LEAST_WEIGHT = 5


@dataclass(frozen=True, slots=True)
class Advice:
    """Everything learned that changes a configuration. Empty: nothing is known, and every endpoint is equal.

    ``weights``: (model, node_id) to 5..1000; what is not named has 1000. ``hedge_after``: model to seconds after which
    a call without an answer goes to a second node as well; a model that is not named is not hedged. ``limits``: model
    to the most calls under way at a time through one data plane; not named: no limit. ``stuck``: (model, node_id) of
    endpoints that hold work and finish none, with the evidence in one sentence. ``hopeless``: models of which every
    endpoint fails, so that a second try of a call helps nobody. ``quarantined``: fingerprints of requests that kill
    nodes, by model. ``watched``: models of which every call is fingerprinted, not only gRPC calls that name them in the
    message.

    Numbers are coarse on purpose: equal advice means no new configuration.
    """

    weights: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    hedge_after: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    stuck: Mapping[tuple[str, str], str] = field(default_factory=lambda: MappingProxyType({}))
    hopeless: frozenset[str] = frozenset()
    quarantined: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    watched: frozenset[str] = frozenset()
