"""The state of a device besides its use, from the wire to a value: power, heat, clocks and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from inferno.governance.v1 import telemetry_pb2
from inferno_governator.usage import StatePoint

# No device comes near them; what is beyond was not measured but made up.
_MAX_WATTS = 1_000_000
_MAX_CELSIUS = 1_000
_MAX_MHZ = 100_000
_MAX_ERRORS = 2**48


def decode_state(
    device: telemetry_pb2.DeviceSample, when: tuple[int, int], refuse: Callable[[str, str], NoReturn]
) -> StatePoint:
    """The state at the end of a window, taken to hold for all of it.

    Args:
        device: What was told.
        when: End and length of the window, in microseconds.
        refuse: Raises for a field whose value cannot be.
    """
    watts, celsius, mhz = device.power_watts, device.temperature_celsius, device.sm_clock_mhz
    # Written so that NaN, which compares false with everything, is refused too.
    if not 0.0 <= watts <= _MAX_WATTS:
        refuse("power_watts", f"{watts} is not between 0 and {_MAX_WATTS}")
    if not -_MAX_CELSIUS <= celsius <= _MAX_CELSIUS:
        refuse("temperature_celsius", f"{celsius} is not between -{_MAX_CELSIUS} and {_MAX_CELSIUS}")
    if mhz > _MAX_MHZ:
        refuse("sm_clock_mhz", f"{mhz} is more than {_MAX_MHZ}")
    errors = [
        min(getattr(device, name), _MAX_ERRORS) if device.HasField(name) else -1
        for name in ("ecc_corrected", "ecc_uncorrected")
    ]
    millis = when[1] // 1000
    # Below zero the mean would have a sign; no machine room is that cold.
    degrees = max(0, round(celsius))
    slowdowns = device.slowdowns
    return (
        *when,
        millis if device.HasField("temperature_celsius") else 0,
        degrees * millis,
        millis if mhz else 0,
        mhz * millis,
        millis if slowdowns else 0,
        millis if any("thermal" in name for name in slowdowns) else 0,
        len(device.xids),
        round(watts * 1000),
        degrees,
        errors[0],
        errors[1],
    )
