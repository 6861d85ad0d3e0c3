"""Faults that outlive the agent: kept beside the Triton that was running when they were found.

A GPU is reset only when no process holds it. While the same Triton runs on, no GPU that it uses was reset, whatever
became of the agent: the next agent, which takes that Triton over, takes the faults over too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from inferno_backend.hardware.faults import Health
from inferno_runtime import guard, logs, private_file

_LOG = logs.get("devices")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class FaultFile:
    """The file with the faults of a Triton's life."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def recall(self, triton_pid: int) -> dict[str, Health]:
        """What was found beside this Triton, by the GPUs' UUIDs; nothing beside another one."""
        try:
            kept = json.loads(self._path.read_bytes())
            if kept["triton"] != _life(triton_pid):
                return {}
            return {
                uuid: Health(fault=fault, contained=contained, life=triton_pid if contained else 0)
                for uuid, (fault, contained) in kept["faults"].items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _LOG.warning("the faults of an earlier agent cannot be read", file=str(self._path), error=str(error))
            return {}

    def keep(self, triton_pid: int, health: Mapping[str, Health]) -> None:
        """Keep what only a reset, or Triton's end, ends. Without such a fault there is no file."""
        faults = {uuid: (one.fault, one.contained) for uuid, one in health.items() if one.fault or one.contained}
        try:
            if faults:
                content = json.dumps({"triton": _life(triton_pid), "faults": faults}, indent=1)
                private_file.replace(self._path, content.encode())
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            _LOG.warning("faults cannot be kept for a next agent", file=str(self._path), error=str(error))


def _life(pid: int) -> str:
    """What tells one process from every other one, also after the machine was started again."""
    return f"{_BOOT.read_text(encoding='ascii').strip()} {pid} {guard.start_time(pid)}"
