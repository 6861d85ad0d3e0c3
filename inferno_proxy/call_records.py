"""Where single calls are recorded, if anywhere: values that settings and resources share."""

from __future__ import annotations

from dataclasses import dataclass

from inferno_proxy.fleet import Address

# Envoy's standard output, which the supervisor passes on to its own.
STDOUT = "/dev/stdout"


@dataclass(frozen=True, slots=True)
class Traces:
    """Where spans go, and of how many calls in a hundred that bring no context."""

    collector: Address
    percent: float
