"""Record what NVML answers on this machine: ``python -m tools.record_nvml FILE``.

Everything the agent asks is asked here, by the agent's own code: the inventory once and a number of readings, a second
apart. Run it while the GPUs work, so that the figures move.
"""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pynvml

from inferno_backend.hardware.nvml import NvmlProbe
from tools.nvml_recording import Recorder, save


def main() -> int:
    """Record; 1 when there is no NVML, with its own word why."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="where the recording goes")
    parser.add_argument("--readings", type=int, default=10, help="readings, a second apart (default 10)")
    given = parser.parse_args()
    recorder = Recorder()
    try:
        with ExitStack() as closing:
            probe = NvmlProbe(recorder, closing)
            gpus = probe.gpus()
            for _ in range(given.readings):
                probe.uses(0)
                threading.Event().wait(1.0)
    except pynvml.NVMLError as error:
        sys.stderr.write(f"Nothing was recorded: NVML says {error}.\n")
        return 1
    save(
        given.file,
        {
            "device": ", ".join(gpu.name for gpu in gpus),
            "made": "recorded: every answer is NVML's own",
            "driver": probe.driver_version,
            "answers": recorder.answers,
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
