"""One model's entry under ``proxy.models`` in the settings file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated

import pydantic

from inferno_proxy.routing.traffic import (
    EVERY_MODEL,
    VERSION,
    Balance,
    Mirror,
    Per,
    Rate,
    Scope,
    Split,
    Traffic,
    TrafficTable,
)
from inferno_runtime.settings import option

# RFC 9110, section 5.1: a field name is a token.
_FIELD_NAME = r"[!#$%&'*+.^_`|~0-9a-zA-Z-]+"
_HEADER = re.compile(f"header:{_FIELD_NAME}")

# The header that carries an API key.
_KEY_HEADER = "x-api-key"
_API_KEY = f"header:{_KEY_HEADER}"
# The units of time that Envoy's rate limit protocol has, in seconds.
_PERIODS = (1, 60, 3600, 86_400)
# What Envoy counts in 32 bits or 64, and the longest duration that protobuf can write, in seconds.
_UINT32 = 2**32 - 1
_INT64 = 2**63 - 1
_LONGEST = 315_576_000_000

# A model version or a label's value.
_GROUP = r"^[A-Za-z0-9]([A-Za-z0-9._-]*)$"
Group = Annotated[str, pydantic.StringConstraints(pattern=_GROUP)]
By = Annotated[str, pydantic.StringConstraints(pattern=r"^(version|label:[A-Za-z0-9]([A-Za-z0-9._/-]*))$")]


class SplitSettings(pydantic.BaseModel):
    """Calls shared out among groups of nodes."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    by: By = option(help="What names a node's group: version, or label:NAME.")
    weights: Mapping[Group, Annotated[int, pydantic.Field(ge=0, le=1000)]] = option(help="Each group's share.")

    @pydantic.field_validator("weights")
    @classmethod
    def _somebody_serves(cls, weights: Mapping[str, int]) -> Mapping[str, int]:
        if not any(weights.values()):
            raise ValueError("at least one group needs a weight above 0")
        return weights

    def split(self) -> Split:
        """The same as a plain value."""
        return Split(_by(self.by), tuple(sorted(self.weights.items())))


class MirrorSettings(pydantic.BaseModel):
    """Copies of calls for a group of nodes."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    by: By = option(help="What names a node's group: version, or label:NAME.")
    to: Group = option(help="The group that gets copies.")
    percent: float = option(100.0, help="How many of a hundred calls are copied.", gt=0, le=100)

    def mirror(self) -> Mirror:
        """The same as a plain value."""
        return Mirror(_by(self.by), self.to, self.percent)


class RateSettings(pydantic.BaseModel):
    """How often a model may be called."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    calls: int = option(help="Calls allowed at once and in each period.", ge=1, le=_UINT32)
    seconds: float = option(1.0, help="Length of the period.", ge=0.1, le=86_400)
    per: str = option("model", help="Who shares the limit: model (all callers), address, key, or header:NAME.")
    scope: Scope = option(Scope.PROXY, help="Where calls are counted: in each proxy, or in the rate limit service.")

    @pydantic.field_validator("per")
    @classmethod
    def _per_is_known(cls, per: str) -> str:
        if per not in (Per.MODEL, Per.ADDRESS, "key") and not _HEADER.fullmatch(per):
            raise ValueError("it must be model, address, key or header:NAME")
        return _API_KEY if per == "key" else per

    @pydantic.model_validator(mode="after")
    def _period_is_known(self) -> RateSettings:
        if self.scope is Scope.GLOBAL and self.seconds not in _PERIODS:
            raise ValueError(f"with scope global, seconds must be 1, 60, 3600 or 86400, not {self.seconds:g}")
        return self

    def rate(self) -> Rate:
        """The same as a plain value."""
        per, _, header = self.per.partition(":")
        return Rate(self.calls, self.seconds, Per(per), header.lower(), self.scope)


def is_header(name: str) -> bool:
    """True of what may be the name of a header."""
    return re.fullmatch(_FIELD_NAME, name) is not None


def _by(text: str) -> str:
    return VERSION if text == "version" else text.removeprefix("label:")


class ModelSettings(pydantic.BaseModel):
    """How calls of one model are treated; what an entry leaves out holds as under ``"*"``, or by default."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    balance: Balance = option(Balance.LEAST_REQUEST, help="How one node of several is chosen.")
    hash_on: str = option("", help="What keeps calls together: header:NAME, or address for the caller's.")
    timeout: float = option(0.0, help="Seconds a call may take, all tries together; 0 is no limit.", ge=0, le=_LONGEST)
    stream_timeout: float = option(0.0, help="Seconds a stream may take; 0 is no limit.", ge=0, le=_LONGEST)
    retries: int = option(3, help="Further tries after a first one that failed.", ge=0, le=10)
    repeatable: bool = option(default=True, help="A call may run again elsewhere when its node dies under it.")
    hedge_after: float = option(0.0, help="Seconds until a call is also sent elsewhere; 0 is never.", ge=0, le=_LONGEST)
    split: SplitSettings | None = option(None, help="Shares of groups of nodes.")
    mirror: MirrorSettings | None = option(None, help="Copies for a group of nodes.")
    max_concurrency: int = option(0, help="Most calls under way, gRPC and REST apart; 0 is no limit.", ge=0, le=_UINT32)
    max_wait: float = option(1.0, help="Seconds a call may wait for its turn; 0 is no limit.", ge=0, le=_LONGEST)
    rate: RateSettings | None = option(None, help="How often it may be called.")
    slow_start: float = option(0.0, help="Seconds until a new node takes its full share; 0 is at once.", ge=0, le=3600)
    max_request_bytes: int = option(0, help="Largest request; 0 is no limit.", ge=0, le=_INT64)
    max_stream_bytes: int = option(
        0, help="Most bytes of one stream's requests together; 0 is no limit.", ge=0, le=_INT64
    )
    learn: bool = option(default=True, help="Shares of nodes, hedging and limits follow what is observed.")

    @pydantic.field_validator("hash_on")
    @classmethod
    def _hash_on_is_known(cls, hash_on: str) -> str:
        if hash_on not in ("", "address") and not _HEADER.fullmatch(hash_on):
            raise ValueError("it must be header:NAME or address")
        return hash_on

    @pydantic.model_validator(mode="after")
    def _key_and_hash(self) -> ModelSettings:
        if self.balance.hashes and not self.hash_on:
            raise ValueError(f"balance {self.balance} needs hash_on: header:NAME or address")
        if self.hash_on and not self.balance.hashes:
            raise ValueError(f"hash_on needs balance ring_hash or maglev, not {self.balance}")
        if self.slow_start and not self.balance.ramps:
            raise ValueError(f"slow_start needs balance least_request or round_robin, not {self.balance}")
        if self.hedge_after and not self._runs_twice:
            raise ValueError("hedge_after sends a call twice, which needs repeatable: true and retries of at least 1")
        return self

    @property
    def _runs_twice(self) -> bool:
        return self.repeatable and self.retries > 0

    def traffic(self) -> Traffic:
        """The same as a plain value."""
        values = self.model_dump()
        values["hash_on"] = self.hash_on.removeprefix("address").removeprefix("header:").lower()
        values["split"] = self.split and self.split.split()
        values["mirror"] = self.mirror and self.mirror.mirror()
        values["rate"] = self.rate and self.rate.rate()
        return Traffic(**values)


def traffic_table(models: Mapping[str, ModelSettings], caller: str = "") -> TrafficTable:
    """Lay each model's entry over that of ``"*"``. ``caller`` is the header that tells clients apart where API keys are
    taken off the call before anything is counted; empty: they are not.

    >>> table = traffic_table({"*": ModelSettings(retries=1), "m": ModelSettings(timeout=2)})
    >>> table.of("m").retries, table.of("other").timeout
    (1, 0.0)
    """
    base = models.get(EVERY_MODEL, ModelSettings())
    # A balance brings its key and its slow start along, or an entry could inherit what its balance has no use for.
    laid = {name: _counted(_over(base, own).traffic(), caller) for name, own in models.items() if name != EVERY_MODEL}
    return TrafficTable(laid, _counted(base.traffic(), caller))


def _counted(traffic: Traffic, caller: str) -> Traffic:
    if not caller or traffic.rate is None or traffic.rate.header != _KEY_HEADER:
        return traffic
    return replace(traffic, rate=replace(traffic.rate, header=caller))


def contradictions(models: Mapping[str, ModelSettings]) -> Iterator[tuple[str, str]]:
    """The models whose entry is no good when laid over that of ``"*"``, and why.

    >>> base = ModelSettings(balance=Balance.MAGLEV, hash_on="address")
    >>> list(contradictions({"*": base, "m": ModelSettings(slow_start=5)}))
    [('m', "with what '*' says, slow_start needs balance least_request or round_robin, not maglev")]
    """
    base = models.get(EVERY_MODEL, ModelSettings())
    for name, own in models.items():
        try:
            _over(base, own)
        except pydantic.ValidationError as error:
            yield name, f"with what {EVERY_MODEL!r} says, {error.errors()[0]['msg'].removeprefix('Value error, ')}"


def _over(base: ModelSettings, own: ModelSettings) -> ModelSettings:
    inherited = base.model_dump(exclude_unset=True)
    if "balance" in own.model_fields_set:
        inherited = {key: value for key, value in inherited.items() if key not in ("hash_on", "slow_start")}
    if not own._runs_twice:  # noqa: SLF001 - of the same class
        inherited.pop("hedge_after", None)
    return ModelSettings.model_validate({**inherited, **own.model_dump(exclude_unset=True)})
