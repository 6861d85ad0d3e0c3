"""Shows, from inside a model's process, how its streams go on: Triton 2.51 has no gauge of them.

Its Python backend tells neither what runs (a request that has begun to execute is in no gauge until it has ended) nor
what a stream has sent (``response_stats`` stays empty, and a model that answers from a thread counts as successful when
its ``execute`` returns). So the agent puts this file beside its copy of the backend, whose utilities import it, and it
counts what goes through each response sender into a page of shared memory, which the agent reads
(:mod:`inferno_backend.triton.streams`).

It runs in the Python of the model: only the standard library is imported, and nothing that needs more than Python 3.8.

The page is an array of unsigned 64-bit numbers, so that each is written and read in one piece. Times are nanoseconds of
``CLOCK_MONOTONIC``, which all processes of a machine share.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

# The beginning of the pages' names, given by the agent; the process's id follows.
VARIABLE = "INFERNO_STREAM_PAGES"
# Name of this file beside the backend.
MODULE = "inferno_stream_gauge"

LAYOUT = 1
# Cells of the page: which layout this is, streams that found no slot, streams that ended, responses, the newest sign of
# progress, the longest time to a first response and between two; then model and version, and the slots.
FORMAT, CROWD, FINISHED, RESPONSES, MOVED, FIRST_WAIT, GAP, NAME = range(8)
_NAME_CELLS = 64
SLOTS_FROM = NAME + _NAME_CELLS
# Cells of a slot: when its stream began (0: it is free), and when it last sent something (0: never).
BEGAN, LAST = range(2)
SLOT = 2
SLOTS = 1024
CELLS = SLOTS_FROM + SLOTS * SLOT
# TRITONSERVER_RESPONSE_COMPLETE_FINAL.
_FINAL = 1


class Page:
    """The page of this process, written to by every thread that sends."""

    def __init__(self, path: str, model: str, version: str) -> None:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
        try:
            os.ftruncate(descriptor, CELLS * 8)
            memory = mmap.mmap(descriptor, CELLS * 8)
        finally:
            os.close(descriptor)
        named = f"{model}\0{version}".encode()[: _NAME_CELLS * 8]
        memory[NAME * 8 : NAME * 8 + len(named)] = named
        self._cells = memoryview(memory).cast("Q")
        # Reentrant: a sender may be dropped, and its stream with it, while its thread is here.
        self._lock = threading.RLock()
        self._free = list(range(CELLS - SLOT, SLOTS_FROM - 1, -SLOT))
        self._open: dict[int, tuple[int, Any]] = {}
        # Written last: a page without it is not ready to be read.
        self._cells[FORMAT] = LAYOUT

    def begin(self, sender: Any) -> None:
        """A stream begins, if it is not known yet."""
        key = id(sender)
        with self._lock:
            if key in self._open:
                return
            slot = self._free.pop() if self._free else 0
            # A sender that is dropped without a last word is gone as well.
            dropped = weakref.finalize(sender, self._close, key)
            dropped.atexit = False
            self._open[key] = slot, dropped
            if slot:
                self._cells[slot + LAST] = 0
                self._cells[slot + BEGAN] = time.monotonic_ns()
            else:
                self._cells[CROWD] += 1

    def sent(self, sender: Any, responses: int, *, final: bool) -> None:
        """A stream has sent something, or has ended."""
        now = time.monotonic_ns()
        with self._lock:
            known = self._open.get(id(sender))
            self._cells[RESPONSES] += responses
            self._cells[MOVED] = now
            if known is None:
                return
            slot, dropped = known
            if slot:
                before = self._cells[slot + LAST]
                longest, waited = (GAP, now - before) if before else (FIRST_WAIT, now - self._cells[slot + BEGAN])
                self._cells[longest] = max(self._cells[longest], waited)
                self._cells[slot + LAST] = now
            if final:
                dropped.detach()
                self._cells[FINISHED] += 1
                self._close(id(sender))

    def _close(self, key: int) -> None:
        with self._lock:
            slot, _ = self._open.pop(key)
            if slot:
                self._cells[slot + BEGAN] = 0
                self._free.append(slot)
            else:
                self._cells[CROWD] -= 1


def install(backend: Any) -> None:
    """Count what goes through the response senders of a backend; ``backend`` is its module ``c_python_backend_utils``.

    A backend that looks different is left as it is: its models serve, and their streams are not seen.
    """
    prefix = os.environ.get(VARIABLE, "")
    request = getattr(backend, "InferenceRequest", None)
    sender = getattr(backend, "InferenceResponseSender", None)
    if not prefix or request is None or sender is None:
        return
    plain_sender, plain_send = request.get_response_sender, sender.send
    pages: list[Page | None] = []
    lock = threading.Lock()

    def page() -> Page | None:
        """The page of this process, made for its first stream; None when there can be none."""
        with lock:
            if not pages:
                try:
                    pages.append(Page(prefix + str(os.getpid()), *served_by(_command_line())))
                except (OSError, ValueError) as error:
                    sys.stderr.write(f"The streams of this model cannot be followed: {error}\n")
                    pages.append(None)
            return pages[0]

    def get_response_sender(self: Any) -> Any:
        made = plain_sender(self)
        if (mine := page()) is not None:
            mine.begin(made)
        return made

    def send(self: Any, response: Any = None, flags: int = 0) -> None:
        plain_send(self, response, flags)
        if (mine := page()) is not None:
            mine.sent(self, 0 if response is None else 1, final=bool(flags & _FINAL))

    request.get_response_sender = get_response_sender
    sender.send = send


def served_by(command_line: list[str]) -> tuple[str, str]:
    """The model and the version that a stub with this command line serves.

    Its first argument is the model's file, ``REPOSITORY/MODEL/VERSION/model.py``.

    Raises:
        ValueError: It has no such argument.
    """
    parts = command_line[1].split("/") if len(command_line) > 1 else []
    if len(parts) < 3:
        raise ValueError("the stub was started without the path of a model")
    return parts[-3], parts[-2]


def _command_line() -> list[str]:
    return Path("/proc/self/cmdline").read_bytes().decode(errors="replace").split("\0")
