"""The health of every GPU, from one look to the next, and which of them can do no work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inferno_backend.hardware.faults import Health, examine
from inferno_backend.hardware.use import DeviceReading
from inferno_backend.node import Gpu
from inferno_runtime import logs

_LOG = logs.get("devices")


class Examination:
    """Examines readings of the devices, one after the other."""

    def __init__(self, gpus: Sequence[Gpu], slowed_after: float) -> None:
        self._names = {gpu.uuid: f"GPU {index} ({gpu.name}, {gpu.uuid})" for index, gpu in enumerate(gpus)}
        self._slowed_after = slowed_after
        self._health: dict[str, Health] = {}

    def take(self, reading: DeviceReading, triton_pid: int) -> Mapping[str, str]:
        """The GPUs that can do no work, by UUID, each with the reason as a sentence.

        Args:
            reading: The devices now. What is not in it stays as it was.
            triton_pid: Triton's process id; 0 when it is not ours or not running.
        """
        for use in reading.uses:
            if use.kind != "gpu":
                continue
            before = self._health.get(use.device_id, Health())
            now = examine(before, use, reading.at, triton_pid, self._slowed_after)
            self._health[use.device_id] = now
            if now.reason and now.reason != before.reason:
                _LOG.error("a GPU can do no work", gpu=self._name(use.device_id), reason=now.reason)
            elif before.reason and not now.reason:
                _LOG.info("a GPU can work again", gpu=self._name(use.device_id))
        return {uuid: f"{self._name(uuid)}: {one.reason}" for uuid, one in self._health.items() if one.reason}

    def _name(self, uuid: str) -> str:
        return self._names.get(uuid, uuid)
