"""The governator's settings."""

from __future__ import annotations

from typing import ClassVar

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
    raw_retention_minutes: int = option(60, ge=1, help="How long samples are kept as they arrived, in minutes.")
    minute_retention_days: int = option(31, ge=1, help="How long minute roll-ups, and so bills, are kept, in days.")
    retention_seconds: float = option(60.0, gt=0, help="Seconds between two looks for what is too old to keep.")
    queue_samples: int = option(
        200_000, ge=500, help="Samples that may wait to be stored; beyond it senders are told to slow down."
    )
    db_busy_seconds: float = option(
        3.0, ge=0, help="Seconds to wait for another process that locks the database before senders are told to wait."
    )
    shutdown_seconds: float = option(
        3.0, gt=0, help="Seconds that open streams have, at the end, to store what they have handed in."
    )
