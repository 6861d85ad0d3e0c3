"""Who is told of alerts: ``governator.alerts`` in the settings file, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self
from urllib.parse import urlsplit

import pydantic
from pydantic_core import PydanticCustomError

from inferno_governator.alerts.alert import Kind, Severity
from inferno_runtime.secret_url import BAD_SECRET, SecretUrl
from inferno_runtime.settings import option


class ReceiverSettings(pydantic.BaseModel):
    """A receiver of alerts. The log is told of every alert without any."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    kind: Literal["webhook", "alertmanager"] = option(help="A webhook gets JSON of ours; Alertmanager its API v2.")
    url: SecretUrl = option(
        help="Where alerts are posted; of an Alertmanager its base, as http://127.0.0.1:9093. Its path is kept secret."
    )
    headers: Mapping[str, pydantic.SecretStr] = option({}, help="HTTP headers, for example authorization; kept secret.")
    least: Literal["info", "warning", "critical"] = option("info", help="Least severity that it is told of.")
    kinds: tuple[Kind, ...] = option((), help="Kinds that it is told of; empty: all.")
    every_seconds: float = option(
        30.0, gt=0, le=3600, help="Least time between two messages; what comes meanwhile goes together."
    )
    timeout_seconds: float = option(10.0, gt=0, le=300, help="How long it may take to answer.")

    @pydantic.model_validator(mode="after")
    def _says_once_who_asks(self) -> Self:
        user = urlsplit(self.url.get_secret_value()).username
        if user is not None and any(name.lower() == "authorization" for name in self.headers):
            raise PydanticCustomError(BAD_SECRET, "url names a user and headers an authorization; give one of them")
        return self

    @property
    def severity(self) -> Severity:
        """``least`` as a value."""
        return Severity[self.least.upper()]
