"""The options of a command that asks a running mesh, gathered into one value."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import rich_click as click

from inferno_cli import endpoint as public
from inferno_cli import output

T = TypeVar("T")
Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to ask, for how long, and how to show the answer; for an order also why, and how long it holds."""

    endpoint: public.Endpoint
    timeout: float
    form: output.Format
    reason: str = ""
    holds: str | None = None

    def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """Ask MeshService; ``question`` gets its stub.

        Raises:
            TimedOut: It takes too long.
            InfernoError: Nobody answers, or the answer is a refusal.
        """
        from inferno_cli import operating

        return public.within(
            self.timeout, lambda: operating.call(self.endpoint, question), f"Asking the mesh at {self.endpoint}"
        )


def asking(command: Command) -> Command:
    """Give a command the options of a question; it gets them as its first argument, an :class:`Asked`."""
    return asking_for(10.0)(command)


def asking_for(seconds: float) -> Callable[[Command], Command]:
    """The same for a question that takes so long at most, unless it is said otherwise."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*, endpoint: public.Endpoint, timeout: float, output: output.Format, **own: Any) -> Any:
            return command(Asked(endpoint, timeout, output), **own)

        return public.endpoint_option(public.timeout_option(seconds)(output.output_option(run)))

    return decorate


def ordering(command: Command) -> Command:
    """The same for a command that orders something."""

    @functools.wraps(command)
    def run(
        *, endpoint: public.Endpoint, timeout: float, output: output.Format, reason: str, holds: str | None, **own: Any
    ) -> Any:
        return command(Asked(endpoint, timeout, output, reason, holds), **own)

    made = click.option("--reason", default="", metavar="TEXT", help="Why, for the list of orders and the log.")(run)
    made = click.option("--for", "holds", metavar="DURATION", help="How long it holds, as 15m (default: for good).")(
        made
    )
    return public.endpoint_option(public.timeout_option(10.0)(output.output_option(made)))
