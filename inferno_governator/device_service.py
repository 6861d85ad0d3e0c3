"""The part of GovernanceService that tells how devices were used. It translates and holds no judgement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import device_pb2 as wire
from inferno_governator import cost_wire
from inferno_governator.analysis.cost_report import pieces
from inferno_governator.analysis.device_use import DeviceTotal
from inferno_governator.analysis.periods import Period
from inferno_governator.store.store import Store
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action, permit

Context = grpc.aio.ServicerContext[Any, Any]

_STEPS: Mapping[int, int] = {wire.DEVICE_STEP_MINUTE: 1, wire.DEVICE_STEP_HOUR: 60, wire.DEVICE_STEP_DAY: 1440}
# A day of minutes, or two months of hours.
_MOST_STRETCHES = 1_500
# Some 500 kB on the wire.
_DEVICES = 2_000


class DeviceService:
    """Mixed into the servicer, which holds the store and the clock."""

    _store: Store
    _clock: Clock

    async def ListDeviceUse(
        self, request: wire.ListDeviceUseRequest, context: Context
    ) -> AsyncIterator[wire.ListDeviceUseResponse]:
        """How devices were used, in pieces."""
        permit(caller_of(context), Action.READ)
        over = cost_wire.decode_period(request.period, self._clock.wall())
        async with self._store.moment() as moment:
            for piece in _stretches(over, request.step):
                found = await moment.devices(piece.start_minute, piece.end_minute, request.node_id)
                for at in range(0, len(found), _DEVICES):
                    yield wire.ListDeviceUseResponse(
                        devices=[encode(each, piece) for each in found[at : at + _DEVICES]]
                    )


def _stretches(over: Period, step: int) -> list[Period]:
    if step == wire.DEVICE_STEP_UNSPECIFIED:
        return [over]
    if step not in _STEPS:
        raise InvalidInput(f"{step} is no step.", reason="BAD_STEP", fix="Ask for minutes, hours or days.")
    if over.minutes > _MOST_STRETCHES * _STEPS[step]:
        raise InvalidInput(
            f"The period has {over.minutes // _STEPS[step]} stretches; {_MOST_STRETCHES} are told at once.",
            reason="TOO_MANY_STRETCHES",
            fix="Give a shorter period, or a longer step.",
        )
    return pieces(over, _STEPS[step])


def encode(total: DeviceTotal, over: Period) -> wire.DeviceUse:
    """The use of a device as it is sent."""
    known = total.warm_millis > 0
    return wire.DeviceUse(
        start=Timestamp(seconds=over.start_minute * 60),
        minutes=over.minutes,
        node_id=total.node,
        device_id=total.device,
        kind=total.kind,
        measured_seconds=total.window_micros / 1_000_000,
        utilization=total.utilization,
        energy_joules=total.energy_millijoules / 1000,
        mean_power_watts=total.mean_watts,
        max_power_watts=total.max_power_milliwatts / 1000 if total.max_power_milliwatts else None,
        mean_temperature_celsius=total.mean_celsius,
        max_temperature_celsius=total.max_celsius if known else None,
        mean_sm_clock_mhz=total.mean_mhz,
        slowed_seconds=total.slowed_millis / 1000,
        hot_seconds=total.hot_millis / 1000,
        max_memory_used_bytes=total.max_memory_used_bytes,
        memory_total_bytes=total.max_memory_total_bytes,
        ecc_corrected=total.ecc_corrected,
        ecc_uncorrected=total.ecc_uncorrected,
        xids=total.xids,
    )
