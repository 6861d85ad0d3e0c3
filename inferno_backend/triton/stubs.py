"""The processes that a Triton's Python models run in, and those of them that have died.

Triton 2.51 goes on calling a model READY whose process has died, and answers each of its requests INTERNAL ("Stub
process is not healthy") for ever. It collects the exit status of a process that it ends itself at once, and that of one
that died only when the model is unloaded: a zombie that stays one has died by itself, and the kernel still knows why.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PROGRAM = "triton_python_backend_stub"
# Looks between two searches for processes that are new, where nothing tells of them.
_SEARCH_EVERY = 50
# Fields of proc(5)'s ``stat``, counted from the state (its third) on.
_PARENT, _START, _EXIT_CODE = 1, 19, 49


@dataclass(frozen=True, slots=True)
class Stub:
    """One process: which, for which model, and Triton's name for the instance it runs."""

    pid: int
    started: int
    model: str
    instance: str


@dataclass(frozen=True, slots=True)
class Death:
    """A process that died by itself; ``status`` negative: the signal that ended it."""

    stub: Stub
    status: int


class Stubs:
    """Those of one Triton, looked at again and again."""

    def __init__(self, triton: int, proc: Path = _PROC) -> None:
        self._triton = triton
        self._proc = proc
        self._known: dict[int, Stub] = {}
        self._serving: frozenset[str] = frozenset()
        self._dying: set[int] = set()
        self._search_in = 0

    def look(self, serving: frozenset[str]) -> tuple[Death, ...]:
        """The processes of ``serving`` models that have died since they were first seen; each is told once.

        A model that is being loaded, also once more, is to be left out: its processes come and go.
        """
        new, self._serving = serving - self._serving, serving
        self._known = {pid: stub for pid, stub in self._known.items() if stub.model in serving}
        self._search_in -= 1
        if new or self._search_in <= 0:
            self._search_in = _SEARCH_EVERY
            self._known |= {stub.pid: stub for stub in self._search(serving) if stub.pid not in self._known}
        return tuple(self._deaths())

    def _deaths(self) -> Iterator[Death]:
        for stub in tuple(self._known.values()):
            fields = self._stat(stub.pid)
            if not fields or int(fields[_START]) != stub.started:
                del self._known[stub.pid]  # Triton has ended it.
            elif fields[0] == "Z" and stub.pid not in self._dying:
                self._dying.add(stub.pid)  # Triton may be about to collect it.
            elif fields[0] == "Z":
                self._dying.discard(stub.pid)
                del self._known[stub.pid]
                yield Death(stub, os.waitstatus_to_exitcode(int(fields[_EXIT_CODE])))

    def _search(self, models: Collection[str]) -> Iterator[Stub]:
        for entry in self._proc.iterdir():
            if not entry.name.isdecimal():
                continue
            fields = self._stat(int(entry.name))
            if fields[_PARENT : _PARENT + 1] != [str(self._triton)] or fields[0] == "Z":
                continue
            try:
                words = (entry / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
            except OSError:
                continue
            if Path(words[0]).name == _PROGRAM and len(words) > 3 and (model := model_of(words, models)):
                yield Stub(int(entry.name), int(fields[_START]), model, _instance(words))

    def _stat(self, pid: int) -> list[str]:
        try:
            text = (self._proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return text.rpartition(")")[2].split()


def model_of(words: list[str], models: Collection[str]) -> str:
    """Whose a process with this command line is; empty when it is none of ``models``.

    The second word is the model's file, MODEL/VERSION/model.py. Of a repository that is no folder it lies elsewhere;
    then the instance's name says it, MODEL_GROUP_NUMBER.
    """
    folder = Path(words[1]).parent.parent.name
    if folder in models:
        return folder
    instance = _instance(words)
    return max((name for name in models if instance.startswith(f"{name}_")), key=len, default="")


def _instance(words: list[str]) -> str:
    """The last word but one names it; a command line ends with an empty word."""
    return [word for word in words if word][-2]
