"""The control plane's stacks, sampled from a thread of its own: no permission is needed and nothing is slowed down.

A profile is in collapsed form: each line a stack, outermost frame first, and how often it was seen. speedscope and
flamegraph tools read it.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from types import FrameType

# Seconds between two samples. Odd against the control plane's own periods of 10 ms and their multiples.
INTERVAL = 0.0097


def stack(thread: str, frame: FrameType | None) -> str:
    """One stack as collapsed form writes it."""
    names = []
    while frame is not None:
        names.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}")
        frame = frame.f_back
    return ";".join(name.replace(";", ",").replace(" ", "_") for name in (thread, *reversed(names)))


def sample(stop: threading.Event, interval: float = INTERVAL) -> Counter[str]:
    """Sample every thread but this one until asked to stop, once at least."""
    seen: Counter[str] = Counter()
    while True:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():  # noqa: SLF001 - there is no other way to other threads
            if ident != threading.get_ident():
                seen[stack(names.get(ident, "thread"), frame)] += 1
        if stop.wait(interval):
            return seen


def collapsed(seen: Counter[str]) -> bytes:
    r"""A profile's file, what was seen most first.

    >>> collapsed(Counter({"main;a:f": 1, "main;a:f;a:g": 4}))
    b'main;a:f;a:g 4\nmain;a:f 1\n'
    """
    return "".join(f"{each} {count}\n" for each, count in seen.most_common()).encode()
