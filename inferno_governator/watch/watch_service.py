"""The part of GovernanceService about objectives and alerts. It translates and holds no judgement."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1 import watch_pb2
from inferno_governator.alerts.alert import Alert
from inferno_governator.watch.burn_rates import Burn
from inferno_governator.watch.objective import DAYS, Objective
from inferno_governator.watch.watcher import Watcher
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action, permit

Context = grpc.aio.ServicerContext[Any, Any]
_LONGEST_SILENCE = 90 * 86_400


class WatchService:
    """Mixed into the servicer, which holds the watcher."""

    _watcher: Watcher

    async def ListObjectives(
        self, request: wire.ListObjectivesRequest, context: Context
    ) -> wire.ListObjectivesResponse:
        """What models promise."""
        permit(caller_of(context), Action.READ)
        keeper = self._watcher.objectives
        return wire.ListObjectivesResponse(
            objectives=[
                _objective(each, in_settings=keeper.is_settled(each.model)) for each in await keeper.objectives()
            ]
        )

    async def SetObjective(self, request: wire.SetObjectiveRequest, context: Context) -> wire.SetObjectiveResponse:
        """Keep an objective."""
        permit(caller_of(context), Action.OPERATE)
        given = request.objective
        await self._watcher.objectives.set(
            Objective(given.model, given.share, given.latency_micros, given.queue_micros, given.days or DAYS)
        )
        return wire.SetObjectiveResponse()

    async def DeleteObjective(
        self, request: wire.DeleteObjectiveRequest, context: Context
    ) -> wire.DeleteObjectiveResponse:
        """Forget an objective."""
        permit(caller_of(context), Action.OPERATE)
        await self._watcher.objectives.delete(request.model)
        return wire.DeleteObjectiveResponse()

    async def ListWatches(self, request: wire.ListWatchesRequest, context: Context) -> wire.ListWatchesResponse:
        """What is watched."""
        permit(caller_of(context), Action.READ)
        return wire.ListWatchesResponse(watches=[_watch(*each) for each in self._watcher.burns()])

    async def ListAlerts(self, request: wire.ListAlertsRequest, context: Context) -> wire.ListAlertsResponse:
        """What was found."""
        permit(caller_of(context), Action.READ)
        return wire.ListAlertsResponse(alerts=map(_alert, await self._watcher.alerts(ended=request.ended)))

    async def AcknowledgeAlert(
        self, request: wire.AcknowledgeAlertRequest, context: Context
    ) -> wire.AcknowledgeAlertResponse:
        """Silence an alert for a time."""
        permit(caller_of(context), Action.OPERATE)
        if request.silence_seconds > _LONGEST_SILENCE:
            raise InvalidInput(
                f"An alert cannot be silenced for {request.silence_seconds} s: 90 days are the most.",
                reason="BAD_SILENCE",
                fix="Silence it for a shorter time, and again when that is over.",
            )
        alert = await self._watcher.silence(request.fingerprint, request.silence_seconds)
        return wire.AcknowledgeAlertResponse(alert=_alert(alert))


def _objective(objective: Objective, *, in_settings: bool) -> watch_pb2.Objective:
    return watch_pb2.Objective(
        model=objective.model,
        share=objective.share,
        latency_micros=objective.latency_micros,
        queue_micros=objective.queue_micros,
        days=objective.days,
        in_settings=in_settings,
    )


def _alert(alert: Alert) -> watch_pb2.Alert:
    found = alert.finding
    message = watch_pb2.Alert(
        fingerprint=found.fingerprint,
        kind=found.kind.value,
        subject=found.subject,
        severity=found.severity.value,  # type: ignore[arg-type] # the numbers are those of the wire
        cause=found.cause,
        evidence=dict(found.evidence),
        next_step=found.next_step,
        start_time=_time(alert.start_micros),
    )
    if alert.end_micros is not None:
        message.end_time.CopyFrom(_time(alert.end_micros))
    if alert.silenced_until_micros:
        message.silenced_until.CopyFrom(_time(alert.silenced_until_micros))
    return message


def _watch(objective: Objective, found: list[Burn]) -> watch_pb2.Watch:
    return watch_pb2.Watch(
        model=objective.model,
        share=objective.share,
        latency_micros=objective.latency_micros,
        queue_micros=objective.queue_micros,
        days=objective.days,
        burn_rates=[
            watch_pb2.BurnRate(
                long_minutes=each.rule.long_minutes,
                long_rate=each.long_rate,
                short_minutes=each.rule.short_minutes,
                short_rate=each.short_rate,
                threshold=each.threshold,
                requests=each.long.requests,
                bad=each.long.bad,
            )
            for each in found
        ],
    )


def _time(micros: int) -> Timestamp:
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)
