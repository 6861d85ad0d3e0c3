"""Orders read from requests: each is held against the fleet and the settings' own rules before it is placed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import pydantic

from inferno.mesh.v1 import mesh_service_pb2 as wire
from inferno_proxy.errors import unknown_model, unknown_node
from inferno_proxy.fleet import FleetView
from inferno_proxy.orders.order import Kind, Order
from inferno_proxy.routing.aliases import Alias
from inferno_proxy.routing.grouping import group_of
from inferno_proxy.routing.traffic import EVERY_MODEL
from inferno_proxy.routing.traffic_settings import ModelSettings, SplitSettings
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.caller import Caller

_MOST_TIMES = 10.0
_LONGEST_REASON = 200
_LONGEST_LIFE = 366 * 86_400.0
_WHOLE = 100

Settings = TypeVar("Settings", bound=pydantic.BaseModel)
# What each act's request holds beside its subject.
Why = (
    wire.SetNodeWeightRequest
    | wire.QuarantineNodeRequest
    | wire.SetSplitRequest
    | wire.SetLimitRequest
    | wire.QuarantineModelRequest
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a request is read against: the fleet, what the settings know, who asks, and when (Unix seconds)."""

    view: FleetView
    named: Collection[str]
    aliases: Mapping[str, Alias]
    caller: Caller
    now: float

    def node(self, node_id: str) -> str:
        """A node that is there.

        Raises:
            NotFound: It is not.
        """
        if node_id not in self.view.members:
            raise unknown_node(node_id, self.view.members)
        return node_id

    def model(self, name: str, *, every: bool = False) -> str:
        """A model that a node has or that the settings name, or ``every`` one.

        Raises:
            NotFound: Neither: a name that was mistyped would order nothing.
            InvalidInput: It is an alias.
        """
        if name in self.aliases:
            raise _malformed("model", f"{name!r} is an alias of {self.aliases[name].model!r}", "Name the model itself.")
        served = {model.name for member in self.view.members.values() for model in member.node.models}
        if name in served or (name in self.named and name != EVERY_MODEL) or (every and name == EVERY_MODEL):
            return name
        raise unknown_model(name, served | set(self.named))

    def weight(self, request: wire.SetNodeWeightRequest) -> Order:
        """Raises NotFound or InvalidInput."""
        node = self.node(request.node_id)
        if not request.HasField("factor"):
            raise _malformed("factor", "it is missing", "Say how many times the weight it would have, such as 0.5.")
        if not 0 <= request.factor <= _MOST_TIMES:
            raise _malformed("factor", f"{request.factor:g} is not from 0 to {_MOST_TIMES:g}", "0 is no new calls.")
        return self._order(Kind.NODE_WEIGHT, node, request, factor=request.factor)

    def quarantined_node(self, request: wire.QuarantineNodeRequest) -> Order:
        """Raises NotFound or InvalidInput."""
        return self._order(Kind.NODE_QUARANTINE, self.node(request.node_id), request)

    def quarantined_model(self, request: wire.QuarantineModelRequest) -> Order:
        """Raises NotFound or InvalidInput."""
        return self._order(Kind.MODEL_QUARANTINE, self.model(request.model), request)

    def split(self, request: wire.SetSplitRequest) -> Order:
        """Raises NotFound or InvalidInput."""
        model, shares = self.model(request.model), dict(sorted(request.shares.items()))
        if (total := sum(shares.values())) != _WHOLE:
            listed = ", ".join(f"{group} {share}" for group, share in shares.items()) or "none"
            raise _malformed(
                "shares",
                f"the shares of {model!r} add up to {total} percent, not {_WHOLE} ({listed})",
                "Give each group its part of a hundred.",
            )
        split = _checked(SplitSettings, "", {"by": request.by, "weights": shares})
        self._check_groups(model, split.split().by, shares)
        return self._order(Kind.SPLIT, model, request, patch={"split": {"by": request.by, "weights": shares}})

    def limit(self, request: wire.SetLimitRequest) -> Order:
        """Raises NotFound or InvalidInput."""
        model, patch = self.model(request.model, every=True), dict[str, Any]()
        if request.HasField("rate"):
            rate = request.rate
            patch["rate"] = {"calls": rate.calls, "seconds": rate.seconds or 1.0, "per": rate.per or "model"}
        if request.max_concurrency:
            patch["max_concurrency"] = request.max_concurrency
        if not patch:
            raise _malformed(
                "rate", "neither a rate nor max_concurrency is given", "To take a limit back, use ClearOrders."
            )
        _checked(ModelSettings, "", patch)
        return self._order(Kind.LIMIT, model, request, patch=patch)

    def _check_groups(self, model: str, by: str, shares: Mapping[str, int]) -> None:
        """A share of a group that has no node would be a typo without effect."""
        having = [(m, one) for m in self.view.members.values() for one in m.node.models if one.name == model]
        groups = {group_of(by, member, one) for member, one in having} - {""}
        if missing := sorted(group for group, share in shares.items() if share and group not in groups):
            known = ", ".join(sorted(groups)) or "none"
            raise _malformed(
                "shares",
                f"no node that has {model!r} is of the group {missing[0]!r} by {by.removeprefix('@')}",
                f"Groups: {known}.",
            )

    def _order(
        self, kind: Kind, subject: str, why: Why, factor: float = 1.0, patch: Mapping[str, Any] | None = None
    ) -> Order:
        if len(why.reason) > _LONGEST_REASON or not why.reason.isprintable():
            raise _malformed(
                "reason", f"it is not plain text of at most {_LONGEST_REASON} characters", "Say it shorter."
            )
        return Order(
            kind,
            subject,
            str(self.caller),
            self.now,
            why.reason,
            self.end(why),
            factor,
            MappingProxyType(dict(patch or {})),
        )

    def end(self, why: Why | wire.DrainNodeRequest) -> float | None:
        """When something ends, in Unix seconds; None for no end. Raises InvalidInput."""
        if not why.HasField("lifetime"):
            return None
        seconds = why.lifetime.seconds + why.lifetime.nanos / 1e9
        if not 1 <= seconds <= _LONGEST_LIFE:
            raise _malformed("lifetime", f"{seconds:g} s is not from 1 s to a year", "Leave it out for no end.")
        return self.now + seconds


def _checked(cls: type[Settings], where: str, values: Mapping[str, Any]) -> Settings:
    try:
        return cls.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or where
        raise _malformed(field, first["msg"].removeprefix("Value error, ").rstrip("."), "Correct it.") from error


def _malformed(field: str, why: str, fix: str) -> InvalidInput:
    said = f"{field}: {why}." if field else f"{why}."
    return InvalidInput(said, reason="MALFORMED_ORDER", fix=fix, metadata={"field": field})
