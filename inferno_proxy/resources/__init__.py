"""A route plan, translated: RoutePlan in, encoded xDS resources out, in the dialects that Envoy and gRPC speak."""

from __future__ import annotations

from collections.abc import Mapping

from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.routing import RoutePlan
from inferno_proxy.snapshot import Dialect, Snapshot

__all__ = ["ResourceSettings", "build"]


def build(
    plan: RoutePlan,
    settings: ResourceSettings,
    serial: int,
    revisions: Mapping[str, tuple[int, int]],
) -> Mapping[Dialect, Snapshot]:
    """Encode a plan for every kind of client.

    Pure and deterministic: equal input gives equal bytes. ``serial`` and ``revisions`` are copied into each snapshot.
    """
    raise NotImplementedError
