"""What nobody but the operator can say of a node that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import ClassVar

from inferno_runtime.settings import Settings, option


class ScrapedNodeSettings(Settings):
    """A node, or all nodes whose names match a pattern."""

    section: ClassVar[str] = "governator.metrics_nodes"

    price_per_hour: Decimal = option(
        Decimal(0), help="What an hour of such a node costs, in US dollars.", ge=0, le=1_000_000, metavar="DOLLARS"
    )
    region: str = option("", help="Its cloud region, for example us-east-1.")
    instance_type: str = option("", help="The provider's instance type, for example p5.48xlarge.")
    spot: bool = option(False, help="The provider may take it back at any time.")

    @property
    def price_micros_per_hour(self) -> int:
        """The price in micro-dollars."""
        return int((self.price_per_hour * 1_000_000).to_integral_value())


NOTHING_SAID = ScrapedNodeSettings()


def said_of(node: str, settings: Mapping[str, ScrapedNodeSettings]) -> ScrapedNodeSettings:
    """What is said of a node: by its name, or else by the first pattern (``*``, ``?``, ``[...]``) that matches it."""
    if node in settings:
        return settings[node]
    return next((each for pattern, each in settings.items() if fnmatchcase(node, pattern)), NOTHING_SAID)
