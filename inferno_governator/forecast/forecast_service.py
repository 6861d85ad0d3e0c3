"""The part of GovernanceService about forecasts. It translates and holds no judgement."""

from __future__ import annotations

from typing import Any

import grpc

from inferno.governance.v1 import forecast_pb2 as wire
from inferno_governator.decisions.decision_service import Deciding
from inferno_governator.forecast.keeper import Forecast, boots
from inferno_runtime.errors import NotFound
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action, permit

Context = grpc.aio.ServicerContext[Any, Any]


class ForecastService:
    """Mixed into the servicer."""

    _deciding: Deciding

    async def ListForecasts(self, request: wire.ListForecastsRequest, context: Context) -> wire.ListForecastsResponse:
        """What is expected of models."""
        permit(caller_of(context), Action.READ)
        wanted = boots(self._deciding.pools.values())
        if request.model:
            if request.model not in wanted:
                raise NotFound(
                    f"No pool serves {request.model!r}, so nothing is forecast of it.",
                    reason="UNKNOWN_MODEL",
                    fix="Name it among the models of a pool (governator.pools).",
                )
            wanted = {request.model: wanted[request.model]}
        found = await self._deciding.forecasts.forecasts(wanted)
        return wire.ListForecastsResponse(forecasts=[_encode(each) for _, each in sorted(found.items())])


def _encode(one: Forecast) -> wire.Forecast:
    scores = [
        wire.ForecastScore(
            name=each.name, wape=each.wape, pinball=each.pinball, judged=each.judged, chosen=each.chosen, why=each.why
        )
        for each in one.scores
    ]
    return wire.Forecast(
        model=one.model,
        rate=one.rate,
        expected=one.expected,
        quantile=one.quantile,
        boot_seconds=one.boot_seconds,
        scores=scores,
    )
