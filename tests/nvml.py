"""Recorded NVMLs for tests: what real devices answered, and what happened to them afterwards."""

from __future__ import annotations

from pathlib import Path

from tools.nvml_recording import Replay, load

RECORDINGS = Path(__file__).parent / "recordings" / "nvml"


def replay(*devices: str) -> Replay:
    """The machine with these devices, by their recordings' names."""
    return Replay(*(load(RECORDINGS / f"{device}.json") for device in devices))


def listening(nvml: Replay, gpu: int = 0) -> Replay:
    """Let a GPU report Xid errors, as every GPU of a data centre does: nvidia-smi does not print whether one does."""
    nvml.then(f"nvmlDeviceGetSupportedEventTypes(gpu{gpu})", {"value": nvml.nvmlEventTypeXidCriticalError})
    nvml.then("nvmlEventSetCreate()", {"handle": f"events{gpu}"})
    nvml.then(f"nvmlDeviceRegisterEvents(gpu{gpu}, {nvml.nvmlEventTypeXidCriticalError}, events{gpu})", {"value": None})
    nvml.then(f"nvmlEventSetWait_v2(events{gpu}, 0)", {"error": nvml.NVML_ERROR_TIMEOUT})
    return nvml


def report(nvml: Replay, *xids: int, gpu: int = 0) -> None:
    """Let a GPU report these Xid errors, once each."""
    events = [{"struct": {"eventData": {"value": xid}}} for xid in xids]
    nvml.then(f"nvmlEventSetWait_v2(events{gpu}, 0)", *events, {"error": nvml.NVML_ERROR_TIMEOUT})
