"""Triton's log, line by line: what it says, and how much it matters."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

# Like: E1123 02:38:43.702804 9985 model_repository_manager.cc:1460] "Poll failed for ..."
_GLOG = re.compile(r"^([IWEF])\d{4} [\d:.]+ +\d+ ([\w.]+:\d+)\] ?(.*)$")
_PROTOBUF = re.compile(r"^\[libprotobuf (\w+) [^\]]*\] ?(.*)$")
_LEVELS = {"I": "debug", "W": "warning", "E": "error", "F": "error"}
# What Triton says as a warning or an error on every machine without a GPU, and what it means there.
_WITHOUT_GPU = {
    "NVML": "There is no NVIDIA GPU to ask; the node's devices are told by the agent.",
    "DCGM": "Triton measures no GPU, and there is none.",
    "pinned system memory": "Memory for copies to a GPU is not set aside, and nothing is copied to one.",
    "CudaDriverHelper has not been initialized": "There is no CUDA driver, and no model on the CPU needs one.",
}
# What sums up lines that were said before.
_REPEATED = {"failed to load all models": "Each failed model has been told by name."}


# What the C++ runtime says of an exception before it aborts; the second line holds the reason.
_UNCAUGHT = ("terminate called", "  what():")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: ``level`` is debug, warning or error; ``source`` is Triton's file and line, or empty.

    ``harmless`` says why a line of level debug is no trouble though Triton makes much of it; mostly empty.
    """

    level: str
    source: str
    text: str
    harmless: str = ""


def parse(line: str, *, gpu: bool = False) -> Line:
    """Understand a line; tables and tracebacks that belong to no level are debug. ``gpu``: the machine has one.

    >>> parse('E1123 02:38:43.702804 9985 server.cc:241] "it broke"')
    Line(level='error', source='server.cc:241', text='it broke', harmless='')
    """
    for words, why in {**({} if gpu else _WITHOUT_GPU), **_REPEATED}.items():
        if words in line:
            match = _GLOG.match(line)
            return Line("debug", match[2] if match else "", _unquoted(match[3]) if match else line, why)
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


def continues(line: str) -> bool:
    """True for a line of a traceback that the Python backend writes below its message, line by line."""
    return not line or line == "At:" or line.startswith(("  ", "Traceback (most recent"))


def first_line(text: str) -> str:
    """The first line of a message, without the traceback that follows it."""
    return text.split("\n", 1)[0].strip()


def rest(text: str) -> str:
    """What follows the first line: mostly a traceback."""
    return text.partition("\n")[2].strip("\n")
