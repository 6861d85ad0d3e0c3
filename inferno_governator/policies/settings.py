"""Settings of policies and guards: ``governator.policies`` and ``governator.guards`` in the settings file."""

from __future__ import annotations

import pydantic

from inferno_runtime.settings import option

_HOUR = 3600.0


class FillSettings(pydantic.BaseModel):
    """How full nodes may be. Capacity is what a node serves within the objective, so 1 is the edge of it.

    What fluctuates by ``tolerance`` around ``target`` starts nothing and stops nothing: nodes are started above the
    upper edge of the band, and stopped only where the rest stays below the lower one.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    target: float = option(0.9, gt=0, le=1, help="Share of their capacity that nodes should be filled to.")
    tolerance: float = option(0.1, ge=0, lt=1, help="Share of the target by which demand may differ without an action.")

    @pydantic.model_validator(mode="after")
    def _reachable(self) -> FillSettings:
        if self.upper > 1:
            raise ValueError(
                f"target {self.target:g} with tolerance {self.tolerance:g} starts nodes only at {self.upper:.3g} of "
                f"their capacity, when the objective is missed: target may be at most {1 / (1 + self.tolerance):.3g}"
            )
        return self

    @property
    def upper(self) -> float:
        """Fill above which nodes are started."""
        return self.target * (1 + self.tolerance)

    @property
    def lower(self) -> float:
        """Fill that the rest may come to when nodes are stopped."""
        return self.target * (1 - self.tolerance)


class SickNodeSettings(pydantic.BaseModel):
    """When a node that can do no work is replaced."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    after_seconds: float = option(60.0, ge=0, help="How long a node must be sick or lost before it is replaced.")


class RiskSettings(pydantic.BaseModel):
    """What besides the forecast tells that an objective is at risk. Utilisation of a CPU or GPU is none of it."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    latency_share: float = option(0.9, gt=0, le=1, help="Share of the promised latency at which it is at risk.")
    calm_share: float = option(
        0.7, gt=0, le=1, help="Share of the promised latency above which nothing is stopped to save money."
    )
    queued: float = option(8.0, gt=0, help="Requests that may wait for each serving node on average.")

    @pydantic.model_validator(mode="after")
    def _apart(self) -> RiskSettings:
        if self.calm_share > self.latency_share:
            raise ValueError(
                f"calm_share is {self.calm_share:g}, above latency_share {self.latency_share:g}: nodes would stop "
                "at a latency at which others are started"
            )
        return self


class CalmSettings(pydantic.BaseModel):
    """How long a node must not have been needed before it is stopped."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    least_seconds: float = option(
        60.0, ge=0, help="A start counts as so much of a node's time at least, however fast its pool starts one."
    )


class MixSettings(pydantic.BaseModel):
    """When another kind of node is worth the change."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    least_share: float = option(0.15, gt=0, lt=1, help="Share of a node's price that must be saved.")
    payback_seconds: float = option(6 * _HOUR, gt=0, help="Time in which what is saved must pay for the change.")


class PolicySettings(pydantic.BaseModel):
    """Section ``governator.policies``."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    fill: FillSettings = FillSettings()
    sick_node: SickNodeSettings = SickNodeSettings()
    risk: RiskSettings = RiskSettings()
    calm: CalmSettings = CalmSettings()
    mix: MixSettings = MixSettings()


class GuardSettings(pydantic.BaseModel):
    """Section ``governator.guards``: what no policy may go beyond."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    starts_per_hour: int = option(60, ge=0, help="Nodes that may be started within an hour.")
    stops_per_hour: int = option(30, ge=0, help="Nodes that may be stopped within an hour.")
    cooldown_seconds: float = option(
        60.0, ge=0, help="After the end of an action in a pool, how long nothing is stopped there to save money; after "
        "a start that failed, how long none is tried again."
    )  # fmt: skip
    blast_radius: float = option(
        0.25, gt=0, le=1, help="Share of a model's nodes that may be stopping at once; one always may."
    )
    telemetry_max_age_seconds: float = option(120.0, gt=0, help="With telemetry older than that, nothing is done.")
    prices_max_age_seconds: float = option(
        90 * 24 * _HOUR, gt=0, help="With prices older than that, nothing is done to save money."
    )
    providers_max_age_seconds: float = option(
        300.0, gt=0, help="With what providers say of their nodes older than that, nothing is done."
    )

    @pydantic.model_validator(mode="after")
    def _agree(self) -> GuardSettings:
        if self.cooldown_seconds >= _HOUR and self.stops_per_hour > 1:
            raise ValueError(
                f"cooldown_seconds is {self.cooldown_seconds:g}, so {self.stops_per_hour} stops_per_hour can never be "
                "reached: shorten the one or set the other to 1"
            )
        if self.telemetry_max_age_seconds > _HOUR:
            raise ValueError(
                f"telemetry_max_age_seconds is {self.telemetry_max_age_seconds:g}: the budgets of an hour would be "
                "spent on what is older than they are; at most 3600"
            )
        return self
