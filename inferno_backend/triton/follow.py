"""Triton's log file, followed into ours."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from inferno_backend.triton import log
from inferno_runtime import logs

_LOG = logs.get("triton")
_EVERY = 0.2
# Once read, a file larger than this is emptied: Triton appends, so it goes on at the new end.
_MAX_BYTES = 16 * 1024 * 1024
_KEPT_ERRORS = 20
# NVIDIA's driver makes it where it finds a device.
_GPU = Path("/dev/nvidiactl")
# Triton tells of each load by its model's name (model_lifecycle.cc), and of its end once for all versions.
_LOADING = re.compile(r"loading: (.+):\d+")
_LOADED = re.compile(r"(?:successfully loaded|failed to load) '([^']+)'.*", re.DOTALL)


class LogFollower:
    """Reads what was added to a log file and repeats it, line by line, at its own level."""

    def __init__(self, file: Path, *, from_end: bool = False, max_bytes: int = _MAX_BYTES) -> None:
        self._file = file
        self._position = file.stat().st_size if from_end and file.exists() else 0
        self._rest = b""
        self._max_bytes = max_bytes
        self._errors: deque[str] = deque(maxlen=_KEPT_ERRORS)
        self._loading: set[str] = set()
        self._begun: Counter[str] = Counter()
        self._gpu = _GPU.exists()

    @property
    def errors(self) -> list[str]:
        """The last errors, oldest first, without their tracebacks."""
        return list(self._errors)

    @property
    def loading(self) -> frozenset[str]:
        """Models that are being loaded."""
        return frozenset(self._loading)

    def loads(self, model: str) -> int:
        """How often Triton has begun to load a model, by now."""
        self.read()
        return self._begun[model]

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self.read()
            await asyncio.sleep(_EVERY)

    def read(self) -> None:
        """Repeat what is new."""
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._position)
            new = file.read()
        self._position += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for message in self._messages(each.decode(errors="replace").rstrip() for each in lines):
            self._repeat(message)
        if self._position > self._max_bytes:
            os.truncate(self._file, 0)
            self._position = 0

    def _repeat(self, line: log.Line) -> None:
        if began := _LOADING.fullmatch(line.text):
            self._loading.add(began[1])
            self._begun[began[1]] += 1
        elif ended := _LOADED.fullmatch(line.text):
            self._loading.discard(ended[1])
        text, more = log.first_line(line.text), log.rest(line.text)
        fields = {"source": line.source} | ({"traceback": more} if more else {})
        if line.harmless:
            _LOG.debug(text, harmless=line.harmless, **fields)
        elif line.level == "debug":
            _LOG.debug(text, **fields)
        elif line.level == "error":
            self._errors.append(text)
            _LOG.error(text, **fields)
        else:
            _LOG.warning(text, **fields)

    def _messages(self, lines: Iterable[str]) -> Iterator[log.Line]:
        """Each message with the lines of its traceback."""
        gathered: log.Line | None = None
        for line in lines:
            if gathered is not None and gathered.source and log.continues(line):
                gathered = replace(gathered, text=f"{gathered.text}\n{line}")
                continue
            if gathered is not None:
                yield gathered
            gathered = log.parse(line, gpu=self._gpu) if line else None
        if gathered is not None:
            yield gathered
