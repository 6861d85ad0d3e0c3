"""Python's cycle collector in a process with many objects that live long.

A full collection looks at every object there is, holds everything else up meanwhile, and comes again whenever there are
a quarter more: with 10,000 streams open that is a million objects and a second each time. So what survives a collection
that took long is set aside (:func:`gc.freeze`), and the next one looks at what is new. In such a process the next one
does not wait for a quarter more, which after a storm is a long collection at any time: it comes with the first tens of
thousands. What has become garbage among the objects set aside is found by a thorough collection, which is rare.
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
# Seconds between two looks at what is new, and after how many collections of the middle generation it is collected:
# each leaves 7,000 objects at most.
_LOOK = 0.25
_FEW = 5
_OLDEST = 2


async def keep_collections_short(
    clock: Clock, *, long: float = _LONG, thorough: float = _THOROUGH, few: int = _FEW
) -> None:
    """Set aside what full collections need not look at again; runs until cancelled."""
    began, looked_at = 0.0, _middle()
    large = False  # gc.get_freeze_count() would walk through all that is set aside

    def heed(phase: str, info: Mapping[str, Any]) -> None:
        nonlocal began, looked_at, large
        if phase == "start":
            began = clock.monotonic()
        elif info["generation"] == _OLDEST:
            looked_at = _middle()
            if clock.monotonic() - began >= long:
                gc.freeze()
                large = True

    gc.callbacks.append(heed)
    try:
        since = clock.monotonic()
        while True:
            await clock.sleep(_LOOK)
            if clock.monotonic() - since >= thorough:
                since = clock.monotonic()
                gc.unfreeze()
                gc.collect()
            elif large and _middle() - looked_at >= few:
                gc.collect()
    finally:
        gc.callbacks.remove(heed)
        gc.unfreeze()


def _middle() -> int:
    """How many collections of the middle generation there have been."""
    return int(gc.get_stats()[1]["collections"])
