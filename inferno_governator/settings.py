"""The governator's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import pydantic

from inferno_governator.alerts.settings import ReceiverSettings
from inferno_governator.budgets.settings import BudgetSettings, checked
from inferno_governator.forecast.settings import ForecastSettings
from inferno_governator.policies.settings import GuardSettings, PolicySettings
from inferno_governator.pools.settings import PoolSettings
from inferno_governator.pools.settings import checked as checked_pools
from inferno_governator.prometheus.settings import ScrapedNodeSettings
from inferno_governator.watch.settings import ObjectiveSettings
from inferno_runtime.settings import ProcessSettings, option


class GovernatorSettings(ProcessSettings):
    """Section ``governator`` of the configuration file."""

    section: ClassVar[str] = "governator"

    db: str = option(
        "",
        metavar="URL",
        help="Where telemetry is kept: sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME; "
        "without it, inferno/governator.db in the XDG data folder.",
    )
    listen: str = option(
        "127.0.0.1:8090", metavar="ADDRESS", help="Where gRPC is served: HOST:PORT (port 0: a free one) or unix:/PATH."
    )
    insecure: bool = option(
        False, help="Serve without TLS and authentication on an address that other machines can reach."
    )
    metrics_listen: str = option("", metavar="HOST:PORT", help="Serve Prometheus metrics there; without it, nowhere.")
    metrics: str = option(
        "",
        metavar="HOST:PORT",
        help="A Prometheus server whose metrics of Triton, vLLM and DCGM become telemetry: HOST:PORT or a URL.",
    )
    metrics_match: str = option(
        "",
        metavar="MATCHERS",
        help='Which of its targets count, by label matchers, for example: job="vllm", region=~"eu-.*".',
    )
    metrics_node_label: str = option(
        "instance", metavar="LABEL", help="Label that names a target's node; of instance, the part before the port."
    )
    metrics_seconds: float = option(15.0, gt=0, le=300, help="Seconds between two questions to it.")
    metrics_delay_seconds: float = option(
        10.0, ge=0, le=300, help="Seconds after which a scrape is complete: not less than its scrape_timeout."
    )
    metrics_catch_up_minutes: int = option(
        60, ge=1, le=40_000, help="How much is read again after an absence, in minutes; what is older is left out."
    )
    metrics_nodes: Mapping[str, ScrapedNodeSettings] = option(
        {}, help="What nodes that it scrapes cost, by their names or patterns of names."
    )
    raw_retention_minutes: int = option(30, ge=1, help="How long samples are kept as they arrived, in minutes.")
    minute_retention_days: int = option(2, ge=1, help="How long roll-ups by the minute are kept, in days.")
    hour_retention_days: int = option(62, ge=32, help="How long roll-ups by the hour are kept, in days.")
    day_retention_days: int = option(1096, ge=32, help="How long roll-ups by the day, and so bills, are kept, in days.")
    retention_seconds: float = option(
        60.0, gt=0, help="Seconds between two looks for what is to be settled, and what is too old to keep."
    )
    queue_samples: int = option(
        200_000, ge=500, help="Samples that may wait to be stored; beyond it senders are told to slow down."
    )
    db_busy_seconds: float = option(
        3.0, ge=0, help="Seconds to wait for another process that locks the database before senders are told to wait."
    )
    shutdown_seconds: float = option(
        3.0, gt=0, help="Seconds that open streams have, at the end, to store what they have handed in."
    )
    budgets: Annotated[Mapping[str, BudgetSettings], pydantic.AfterValidator(checked)] = option(
        {}, help="What may be spent, by the budget's name."
    )
    pools: Annotated[Mapping[str, PoolSettings], pydantic.AfterValidator(checked_pools)] = option(
        {}, help="Nodes of one kind that a provider can start and stop, by the pool's name."
    )
    minimum: Mapping[str, int] = option(
        {}, help="Nodes that must serve a model whatever happens, by the model's name; 1 for those that are not named."
    )
    mode: Literal["observe", "advise", "act"] = option(
        "observe",
        help="What follows from decisions about nodes: nothing, proposals to approve, or actions in pools that act. "
        "What inferno decisions mode has set holds until this changes.",
    )
    decide_seconds: float = option(10.0, gt=0, help="Seconds between two decisions, where there are pools.")
    forecast: ForecastSettings = option(ForecastSettings(), help="How demand is forecast.")
    settle_seconds: float = option(
        60.0, gt=0, help="Seconds after which a machine that was asked for shows in its provider's list: until then it "
        "is not asked for again.",
    )  # fmt: skip
    policies: PolicySettings = option(PolicySettings(), help="When nodes are started and stopped.")
    guards: GuardSettings = option(GuardSettings(), help="What no decision may go beyond.")
    local_dir: str = option(
        "", metavar="DIR", help="Folder of the nodes of local pools; without it, inferno/nodes in the XDG data folder."
    )
    leash_fd: int = option(
        -1, help="Descriptor whose end ends the nodes of local pools too (given by inferno up).", metavar="FD"
    )
    objectives: Mapping[str, ObjectiveSettings] = option({}, help="What models promise, by the model's name.")
    alerts: Mapping[str, ReceiverSettings] = option({}, help="Who is told of alerts, by a name of your own.")
    watch_seconds: float = option(60.0, gt=0, help="Seconds between two looks for what is worth an alert.")
    prices: str = option(
        "", metavar="FILE", help="Your own terms: discounts, commitments, owned hardware (YAML; docs/prices.md)."
    )
    price_max_age_days: int = option(90, ge=1, help="Age, in days, up to which a price may be acted on.")
    price_jump_percent: int = option(
        30, ge=1, help="Per cent that a price may move before it waits until it is confirmed."
    )
    price_check_seconds: float = option(60.0, gt=0, help="Seconds between two looks at what nodes cost.")
    azure_prices: str = option(
        "https://prices.azure.com/api/retail/prices", metavar="URL", help="Where Azure's retail prices are asked."
    )
    aws_prices: str = option(
        "https://pricing.us-east-1.amazonaws.com", metavar="URL", help="Where AWS's price lists are asked."
    )

    @pydantic.model_validator(mode="after")
    def _minimums_can_be_met(self) -> GovernatorSettings:
        for model, least in self.minimum.items():
            serving = [pool for pool in self.pools.values() if model in pool.models]
            if not serving:
                raise ValueError(f"minimum names {model!r}, which no pool serves: name it among the models of a pool")
            if least < 1:
                raise ValueError(
                    f"minimum of {model!r} is {least}: without a node its requests are counted nowhere, so that "
                    "nothing would start one again; at least 1"
                )
            most = sum(pool.max for pool in serving)
            if least > most:
                raise ValueError(
                    f"minimum of {model!r} is {least}, more than the {most} nodes that its pools may have: raise their "
                    "max, or lower it"
                )
        return self
