"""Triton's log, line by line: what it says, and how much it matters."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

# Like: E1123 02:38:43.702804 9985 model_repository_manager.cc:1460] "Poll failed for ..."
_GLOG = re.compile(r"^([IWEF])\d{4} [\d:.]+ +\d+ ([\w.]+:\d+)\] ?(.*)$")
_PROTOBUF = re.compile(r"^\[libprotobuf (\w+) [^\]]*\] ?(.*)$")
_LEVELS = {"I": "debug", "W": "warning", "E": "error", "F": "error"}
# Harmless on a machine without a GPU, and Triton says them as errors.
_NOISE = (
    "NVML",
    "DCGM",
    "pinned system memory",
    "CudaDriverHelper has not been initialized",
    # Each failed model has been said by name before this line sums them up.
    "failed to load all models",
)


# What the C++ runtime says of an exception before it aborts; the second line holds the reason.
_UNCAUGHT = ("terminate called", "  what():")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: ``level`` is debug, warning or error; ``source`` is Triton's file and line, or empty."""

    level: str
    source: str
    text: str


def parse(line: str) -> Line:
    """Understand a line; tables and tracebacks that belong to no level are debug.

    >>> parse('E1123 02:38:43.702804 9985 server.cc:241] "it broke"')
    Line(level='error', source='server.cc:241', text='it broke')
    """
    if any(noise in line for noise in _NOISE):
        return Line("debug", "", line)
    if match := _GLOG.match(line):
        return Line(_LEVELS[match[1]], match[2], _unquoted(match[3]))
    if match := _PROTOBUF.match(line):
        return Line("error" if match[1] in ("ERROR", "FATAL") else "warning", "protobuf", match[2])
    # What Triton prints before its log exists, such as a bad option or a port in use.
    level = "error" if line.lower().startswith(("error", "fatal", "failed", *_UNCAUGHT)) else "debug"
    return Line(level, "", line.strip().removeprefix("what():").strip())


def _unquoted(text: str) -> str:
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text
    return text


def first_line(text: str) -> str:
    """The first line of a message, without the traceback that follows it."""
    return text.split("\n", 1)[0].strip()
