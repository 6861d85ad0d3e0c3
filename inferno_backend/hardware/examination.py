"""The health of every GPU, from one look to the next, and which of them can do no work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from inferno_backend.hardware.fault_file import FaultFile
from inferno_backend.hardware.faults import Health, examine
from inferno_backend.hardware.use import DeviceReading
from inferno_backend.node import Gpu
from inferno_runtime import logs

_LOG = logs.get("devices")


class Examination:
    """Examines readings of the devices, one after the other.

    ``file`` keeps for a next agent what only a reset ends; None: nothing is kept.
    """

    def __init__(self, gpus: Sequence[Gpu], slowed_after: float, file: FaultFile | None = None) -> None:
        self._names = {gpu.uuid: f"GPU {index} ({gpu.name}, {gpu.uuid})" for index, gpu in enumerate(gpus)}
        self._slowed_after = slowed_after
        self._health: dict[str, Health] = {}
        self._file = file
        self._kept: object = None

    def take(self, reading: DeviceReading, triton_pid: int) -> Mapping[str, str]:
        """The GPUs that can do no work, by UUID, each with the reason as a sentence.

        Args:
            reading: The devices now. What is not in it stays as it was.
            triton_pid: Triton's process id; 0 when it is not ours or not running.
        """
        if triton_pid and self._file is not None and self._kept is None:
            self._recall(self._file, triton_pid)
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
        if triton_pid and self._file is not None:
            self._keep(self._file, triton_pid)
        return {uuid: f"{self._name(uuid)}: {one.reason}" for uuid, one in self._health.items() if one.reason}

    def _recall(self, file: FaultFile, triton_pid: int) -> None:
        """Take over what an earlier agent found beside this Triton."""
        for uuid, found in file.recall(triton_pid).items():
            now = self._health.get(uuid, Health())
            self._health[uuid] = replace(
                now, fault=now.fault or found.fault, contained=now.contained or found.contained, life=found.life
            )
            _LOG.error("a GPU can do no work since an earlier agent", gpu=self._name(uuid), reason=found.reason)

    def _keep(self, file: FaultFile, triton_pid: int) -> None:
        """Write what is to be kept when it is not what was written last."""
        lasting = {uuid: (one.fault, one.contained) for uuid, one in self._health.items() if one.fault or one.contained}
        if self._kept != (triton_pid, lasting):
            file.keep(triton_pid, self._health)
            self._kept = (triton_pid, lasting)

    def _name(self, uuid: str) -> str:
        return self._names.get(uuid, uuid)
