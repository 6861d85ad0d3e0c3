"""Shows the components' logs on standard error as they grow (``inferno up --verbose``)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack

from inferno_cli.cloud.child import Child
from inferno_runtime.clock import Clock

_POLL_SECONDS = 0.2


async def follow(children: Sequence[Child], clock: Clock) -> None:
    """Print each new line of every log, with the component's name before it, until cancelled."""
    with ExitStack() as stack:
        files = [
            (child.component.name, stack.enter_context(child.log.open(encoding="utf-8", errors="replace")))
            for child in children
        ]
        while True:
            for name, file in files:
                for line in file:
                    sys.stderr.write(f"[{name}] {line.rstrip()}\n")
            await clock.sleep(_POLL_SECONDS)
