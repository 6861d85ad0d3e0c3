"""Python's cycle collector in a process with many objects that live long.

A full collection looks at every object there is, holds everything else up meanwhile, and comes again whenever there are
a quarter more: with 10,000 streams open that is a million objects and a second each time. So what survives a collection
that took long is set aside (:func:`gc.freeze`), and the next one looks at what is new. What has become garbage among
the objects set aside is found by a thorough collection, which is rare.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from inferno_runtime.clock import Clock

# Seconds that a collection may take before what it looked at is set aside.
_LONG = 0.02
# Seconds between two collections of everything.
_THOROUGH = 3600.0


async def keep_collections_short(clock: Clock, *, long: float = _LONG, thorough: float = _THOROUGH) -> None:
    """Set aside what full collections need not look at again; runs until cancelled."""
    began = 0.0

    def heed(phase: str, info: Mapping[str, Any]) -> None:
        nonlocal began
        if phase == "start":
            began = clock.monotonic()
        elif info["generation"] == 2 and clock.monotonic() - began >= long:
            gc.freeze()

    gc.callbacks.append(heed)
    try:
        while True:
            await clock.sleep(thorough)
            gc.unfreeze()
            gc.collect()
    finally:
        gc.callbacks.remove(heed)
        gc.unfreeze()
