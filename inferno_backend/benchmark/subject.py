"""What a result is about: the hardware, the model by the content of its files, and how it was configured.

Two results may be compared when these are the same, and only then.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferno_backend.node import Hardware

_CPU_INFO = Path("/proc/cpuinfo")
_GIB = 1 << 30
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware: a hash of all that throughput depends on, and words for people."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Subject:
    """One model on one machine.

    Attributes:
        machine: The hardware.
        model: The model's name.
        files: Hash of the model's files without its configuration; empty when an attached Triton keeps them elsewhere.
        configuration: Hash of the whole configuration that Triton runs the model with.
        settings: The part of it that people tune, in words.
    """

    machine: Machine
    model: str
    files: str
    configuration: str
    settings: str

    @property
    def key(self) -> str:
        """What results about the same thing share."""
        return digest(self.machine.key, self.model, self.files, self.configuration)


def digest(*words: str) -> str:
    """A short hash of words."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def cpu_name(info: Path = _CPU_INFO) -> str:
    """The processor's name as the kernel tells it; its architecture where it tells none."""
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()


def machine(hardware: Hardware, cpu: str) -> Machine:
    """The machine with this hardware and processor; memory counts in whole GiB, GPUs by name and not by number.

    Which GPUs are in the machine is what counts: another one of the same name gives the same key.
    """
    gpus = sorted(gpu.name for gpu in hardware.gpus)
    kinds = [f"{gpus.count(name)} × {name}" for name in sorted(set(gpus))]
    words = [f"{hardware.cpu_count} × {cpu}", f"{round(hardware.memory_bytes / _GIB)} GiB", *kinds]
    return Machine(digest(*words), ", ".join(words))


def files_hash(model: Path) -> str:
    """Hash of a model's files: names and contents, without ``config.pbtxt``, caches and hidden files."""
    total = hashlib.sha256()
    for path in _files(model):
        total.update(f"{path.relative_to(model)}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                total.update(chunk)
    return total.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        top = Path(here) == folder
        for name in sorted(names):
            if not name.startswith(".") and not (top and name.startswith("config.pbtxt")):
                yield Path(here) / name


def configuration_hash(config: Any) -> str:
    """Hash of a ``ModelConfig``."""
    return hashlib.sha256(config.SerializeToString(deterministic=True)).hexdigest()[:16]


def settings_of(config: Any) -> str:
    """The part of a ``ModelConfig`` that people tune, in words.

    The words name instances, the largest batch, and dynamic batching with its preferred sizes and longest delay.
    """
    instances = sum(group.count * max(1, len(group.gpus)) for group in config.instance_group) or 1
    words = [f"{instances} instance{'s' if instances > 1 else ''}"]
    if config.max_batch_size > 0:
        words.append(f"batches up to {config.max_batch_size}")
        if config.HasField("dynamic_batching"):
            batching = config.dynamic_batching
            preferred = ",".join(map(str, batching.preferred_batch_size))
            words.append(
                f"dynamic batching within {batching.max_queue_delay_microseconds} µs"
                + (f", preferably {preferred}" if preferred else "")
            )
    return "; ".join(words)
