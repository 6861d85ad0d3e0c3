"""How far a measurement is, on standard error: a bar on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import rich.progress


class Lines:
    """One line for each thing that was measured: for logs and pipes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing moves on a line."""

    def begin(self, what: str, total: int | None) -> None:
        """Something new is measured, in ``total`` steps; None when nobody knows how many."""
        self.say(f"{what}:")

    def step(self, text: str) -> None:
        """One step of it is done."""
        self.say(f"  {text}")

    def end(self) -> None:
        """All of it is done, maybe in fewer steps."""

    def say(self, text: str) -> None:
        """Something to tell beside the steps."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Bar(Lines):
    """One bar for each thing that is measured, with what its last step showed."""

    def __init__(self) -> None:
        self._bars: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None
        self._what = ""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
        # The machine that draws is the one that is measured.
        self._bars = Progress(*columns, console=Console(stderr=True), refresh_per_second=2)
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def begin(self, what: str, total: int | None) -> None:
        if self._bars is not None:
            self._what = what
            self._task = self._bars.add_task(what, total=total)

    def step(self, text: str) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, advance=1, description=f"{self._what}: {text}")

    def end(self) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, total=self._bars.tasks[self._task].completed)

    def say(self, text: str) -> None:
        if self._bars is None:
            super().say(text)
        else:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)


def for_terminal() -> Lines:
    """A bar on a terminal, lines everywhere else."""
    return Bar() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else Lines()
