"""NVML's answers in a file: written on a machine that has a GPU, replayed where there is none.

A recording is one JSON object. ``answers`` maps a call, like ``nvmlDeviceGetPowerUsage(gpu0)``, to what NVML answered,
one entry after the other; the last one is repeated. An answer is ``{"value": ...}``, ``{"struct": {...}}``,
``{"list": [...]}``, ``{"handle": "gpu0"}`` for what stands for a device or a set of events, or ``{"error": code}``. The
other keys say where the answers come from, and are for people: see :mod:`tools.nvml_from_smi`.
"""

from __future__ import annotations

import ctypes
import json
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pynvml

# Their second argument is the time of the last look, which differs with each replay.
_TIMED = {"nvmlDeviceGetProcessUtilization"}
# What each call that hands out a handle stands for.
_HANDLES = {
    "nvmlDeviceGetHandleByIndex": "gpu{0}",
    "nvmlDeviceGetMigDeviceHandleByIndex": "{0}/mig{1}",
}
_FIELDS = (int, float, str, bytes, ctypes.Structure, ctypes.Union, types.SimpleNamespace)
Answer = dict[str, Any]


class Handle:
    """A device or a set of events, by its name in the recording."""

    def __init__(self, name: str, real: Any = None) -> None:
        self.name = name
        self.real = real

    def __repr__(self) -> str:
        return self.name


def question(call: str, given: Iterable[Any]) -> str:
    """A call as recordings write it."""
    told = list(given)[:1] if call in _TIMED else list(given)
    return f"{call}({', '.join(map(repr, told))})"


class Recorder:
    """The module ``pynvml``, with every answer written down. ``answers`` is the recording's part of that name."""

    def __init__(self, nvml: Any = pynvml) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self._nvml = nvml
        self._sets = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._nvml, name)
        return (lambda *given: self._call(name, *given)) if callable(found) and name.startswith("nvml") else found

    def _call(self, call: str, *given: Any) -> Any:
        entries = self.answers.setdefault(question(call, given), [])
        try:
            real = getattr(self._nvml, call)(*(one.real if isinstance(one, Handle) else one for one in given))
        except self._nvml.NVMLError as error:
            entries.append({"error": error.value})
            raise
        if call in _HANDLES or call == "nvmlEventSetCreate":
            handle = Handle(_HANDLES[call].format(*given) if call in _HANDLES else f"events{self._sets}", real)
            self._sets += call == "nvmlEventSetCreate"
            entries.append({"handle": handle.name})
            return handle
        entries.append(_written(real))
        return real


class Replay:
    """The module ``pynvml`` as a recording tells it, errors included.

    Several recordings of one GPU each make a machine with several; the driver is the first one's.

    Raises:
        AssertionError: On a call whose answer was not recorded and that the recording does not declare as unknown.
            Unknown ones are answered "not supported", as NVML does for what a device does not tell.
    """

    def __init__(self, *recordings: Mapping[str, Any]) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.calls = 0
        self.open = False
        self._unknown = {call for one in recordings for call in one.get("unknown", ())}
        for index, one in enumerate(recordings):
            text = json.dumps(one["answers"]).replace("gpu0", f"gpu{index}").replace("events0", f"events{index}")
            moved = text.replace("nvmlDeviceGetHandleByIndex(0)", f"nvmlDeviceGetHandleByIndex({index})")
            self.answers = json.loads(moved) | self.answers
        if len(recordings) > 1:
            self.answers["nvmlDeviceGetCount()"] = [{"value": len(recordings)}]
        self.given: dict[str, int] = {}  # how often each question was asked

    def __getattr__(self, name: str) -> Any:
        found = getattr(pynvml, name)
        return (lambda *given: self._call(name, *given)) if isinstance(found, types.FunctionType) else found

    def then(self, call: str, *answers: Answer) -> None:
        """Let a call have these answers from now on."""
        self.answers[call] = list(answers)
        self.given.pop(call, None)

    def _call(self, call: str, *given: Any) -> Any:
        self.calls += 1
        if call in {"nvmlInit", "nvmlShutdown"} and f"{call}()" not in self.answers:
            self.open = call == "nvmlInit"
            return None
        asked = question(call, given)
        entries = self.answers.get(asked)
        if entries is None:
            if call in self._unknown or asked in self._unknown:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            raise AssertionError(f"the recording has no answer to {asked}")
        at = self.given.get(asked, 0)
        self.given[asked] = at + 1
        return _read(entries[min(at, len(entries) - 1)])


def load(path: Path) -> dict[str, Any]:
    """A recording."""
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def save(path: Path, recording: Mapping[str, Any]) -> None:
    """Write a recording, one answer a line."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in recording.items() if key != "answers"]
    answers = [f"    {json.dumps(call)}: {json.dumps(given)}" for call, given in recording["answers"].items()]
    lines.append('  "answers": {\n' + ",\n".join(answers) + "\n  }")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _written(real: Any) -> Answer:
    """What NVML answered, for the file."""
    if isinstance(real, bytes):
        return {"value": real.decode()}
    if real is None or isinstance(real, (int, float, str)):
        return {"value": real}
    if isinstance(real, (ctypes.Structure, ctypes.Union)):
        fields = [field[0] for field in real._fields_]
        return {"struct": {name: _written(getattr(real, name)) for name in fields if _plain(getattr(real, name))}}
    if isinstance(real, (list, tuple, ctypes.Array)):
        return {"list": [_written(one) for one in real]}
    # What pynvml makes of some structures: a bare object with the fields as attributes.
    return {"struct": {name: _written(value) for name, value in vars(real).items() if _plain(value)}}


def _plain(value: Any) -> bool:
    """False for pointers: they mean nothing in another process."""
    return value is None or isinstance(value, _FIELDS)


def _read(answer: Answer) -> Any:
    if "error" in answer:
        raise pynvml.NVMLError(answer["error"])
    if "handle" in answer:
        return Handle(answer["handle"])
    if "struct" in answer:
        return types.SimpleNamespace(**{name: _read(value) for name, value in answer["struct"].items()})
    if "list" in answer:
        return [_read(one) for one in answer["list"]]
    return answer["value"]
