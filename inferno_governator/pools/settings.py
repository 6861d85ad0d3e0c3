"""Pools in the settings file: ``governator.pools``, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

import pydantic

from inferno_governator.money import MICROS
from inferno_governator.pools.pool import NAME, Pool
from inferno_runtime.settings import option


class PoolSettings(pydantic.BaseModel):
    """Nodes of one kind that a provider can start and stop."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    provider: str = option(help="Who starts its nodes: local, aws, kubernetes, skypilot or webhook.", min_length=1)
    models: tuple[str, ...] = option(help="Models that its nodes serve.", min_length=1)
    min: int = option(0, ge=0, le=10_000, help="Nodes that there are at least.")
    max: int = option(1, ge=0, le=10_000, help="Nodes that there may be at most.")
    spot: bool = option(False, help="Machines that the provider may take back.")
    region: str = option("", help="Where; without it, the provider's own default.")
    zone: str = option("", help="Zone within the region; without it, any.")
    instance_type: str = option("", help="The provider's name of the machine type.")
    price_per_hour: Annotated[Decimal, pydantic.Field(decimal_places=6)] = option(
        Decimal(0), ge=0, help="US dollars for each hour of a node; 0: what the price book says of the machine type."
    )
    boot_seconds: float = option(300.0, ge=0, help="From the call to the first traffic, until it has been measured.")
    capacity: Mapping[str, Annotated[float, pydantic.Field(gt=0)]] = option(
        {}, help="Requests a second that one node serves within the objective, by model, until it has been measured."
    )
    drain_seconds: float = option(300.0, ge=0, help="For how long a node may finish its work before it is stopped.")
    interruptible: bool = option(
        False, help="Work that is left then may be cut off: it is tried again elsewhere. Without it, the node stays."
    )
    act: bool = option(False, help="Let decisions be carried out; without it they are only rehearsed.")
    options: Mapping[str, str] = option({}, help="What only this provider understands.")

    @pydantic.model_validator(mode="after")
    def _bounds(self) -> PoolSettings:
        if self.min > self.max:
            raise ValueError(f"min is {self.min}, more than max, which is {self.max}")
        if unknown := sorted(set(self.capacity) - set(self.models)):
            raise ValueError(f"capacity names {unknown[0]!r}, which is not among its models")
        return self

    def pool(self, name: str) -> Pool:
        """The same as a plain value."""
        return Pool(
            name=name,
            provider=self.provider,
            models=self.models,
            minimum=self.min,
            maximum=self.max,
            spot=self.spot,
            region=self.region,
            zone=self.zone,
            instance_type=self.instance_type,
            micros_per_hour=int(self.price_per_hour * MICROS),
            boot_seconds=self.boot_seconds,
            capacity=dict(self.capacity),
            drain_seconds=self.drain_seconds,
            interruptible=self.interruptible,
            act=self.act,
            options=dict(self.options),
        )


def checked(pools: Mapping[str, PoolSettings]) -> Mapping[str, PoolSettings]:
    """The pools, once each has a name that can be part of a node's.

    Raises:
        ValueError: One has not; pydantic makes the sentence of it.
    """
    for name in pools:
        if not re.match(NAME, name):
            raise ValueError(f"{name!r}: a pool's name is of lower-case letters, digits and dashes, at most 30")
    return pools
