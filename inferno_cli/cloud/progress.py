"""What people see while a mesh starts, runs and stops; always on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from inferno_runtime.clock import Clock

if TYPE_CHECKING:
    import rich.progress


class Progress(Protocol):
    """Hears what happens to the components."""

    def starting(self, name: str) -> None:
        """A component is being started, for the first time or again."""
        ...

    def ready(self, name: str, pid: int) -> None:
        """A component serves."""
        ...

    def died(self, name: str, how: str, delay: float) -> None:
        """A component ended by itself and starts again in ``delay`` seconds."""
        ...

    def stopping(self, names: Sequence[str]) -> None:
        """These components are asked to end."""
        ...

    def killed(self, name: str, seconds: float) -> None:
        """Something did not end within ``seconds`` and was killed."""
        ...


class Lines:
    """Plain lines, one for each thing that happens: for logs, pipes and people who want no animation."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def finish(self) -> None:
        """Nothing moves on a line."""

    def starting(self, name: str) -> None:
        self._began[name] = self._clock.monotonic()

    def ready(self, name: str, pid: int) -> None:
        self._say(f"  {name} ready in {self._seconds(name):.1f} s (pid {pid})")

    def died(self, name: str, how: str, delay: float) -> None:
        self._say(f"! {name} {how}; starting it again in {delay:.1f} s")

    def stopping(self, names: Sequence[str]) -> None:
        self._say(f"stopping {', '.join(names)}")

    def killed(self, name: str, seconds: float) -> None:
        self._say(f"! {name} did not end within {seconds:.1f} s and was killed")

    def _seconds(self, name: str) -> float:
        return self._clock.monotonic() - self._began[name]

    def _say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Spinners(Lines):
    """A spinner for each component until all are ready, then plain lines: for terminals."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._bars: rich.progress.Progress | None = None
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bars = Progress(*columns, console=Console(stderr=True))
        self._bars.start()
        return self

    def finish(self) -> None:
        """Stop the animation; what it showed last stays."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def starting(self, name: str) -> None:
        super().starting(name)
        if self._bars is not None and name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=1)

    def ready(self, name: str, pid: int) -> None:
        if self._bars is None:
            super().ready(name, pid)
        else:
            self._bars.update(self._tasks[name], completed=1, description=f"{name} (pid {pid})")

    def _say(self, text: str) -> None:
        if self._bars is None:
            super()._say(text)
        else:
            self._bars.console.print(text, markup=False, highlight=False)


def for_terminal(clock: Clock) -> Lines:
    """Spinners on a terminal, lines everywhere else."""
    return Spinners(clock) if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else Lines(clock)
