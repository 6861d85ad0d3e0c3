"""Recorded NVMLs for tests: what real devices answered, and what happened to them afterwards."""

from __future__ import annotations

from pathlib import Path

from tools.nvml_recording import Replay, load

RECORDINGS = Path(__file__).parent / "recordings" / "nvml"


def replay(*devices: str) -> Replay:
    """The machine with these devices, by their recordings' names."""
    return Replay(*(load(RECORDINGS / f"{device}.json") for device in devices))


def listening(nvml: Replay, *gpus: int) -> Replay:
    """Let GPUs report Xid errors, as every GPU of a data centre does: nvidia-smi does not print whether one does."""
    nvml.then("nvmlEventSetCreate()", *({"handle": f"events{gpu}"} for gpu in gpus))
    xids = nvml.nvmlEventTypeXidCriticalError
    for gpu in gpus:
        nvml.then(f"nvmlDeviceGetSupportedEventTypes(gpu{gpu})", {"value": xids})
        nvml.then(f"nvmlDeviceRegisterEvents(gpu{gpu}, {xids}, events{gpu})", {"value": None})
        nvml.then(f"nvmlEventSetWait_v2(events{gpu}, 0)", {"error": nvml.NVML_ERROR_TIMEOUT})
    return nvml


def report(nvml: Replay, *xids: int, gpu: int = 0) -> None:
    """Let a GPU report these Xid errors, once each."""
    events = [{"struct": {"eventData": {"value": xid}}} for xid in xids]
    nvml.then(f"nvmlEventSetWait_v2(events{gpu}, 0)", *events, {"error": nvml.NVML_ERROR_TIMEOUT})
