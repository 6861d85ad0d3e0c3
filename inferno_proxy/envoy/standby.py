"""The last good configuration as one file, for an Envoy that must start while the control plane is away.

Everything stands in the file itself (endpoints inside clusters, routes inside the listener): Envoy needs to ask nobody.
"""

from __future__ import annotations

import os
from pathlib import Path

from inferno_proxy.resources import ResourceSettings
from inferno_proxy.resources.static import static_resources
from inferno_proxy.routing import RoutePlan


def write_standby(path: Path, plan: RoutePlan, settings: ResourceSettings) -> None:
    """Replace the standby file at once, so that a reader finds the old one or the new one, never half of one.

    The file is a binary ``envoy.config.bootstrap.v3.Bootstrap`` that holds static resources only.

    Raises:
        OSError: The file cannot be written.
    """
    fresh = path.with_suffix(".pb.new")
    with fresh.open("wb") as file:
        file.write(static_resources(plan, settings))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
