"""A command group that knows its commands by name and imports only the one that is called.

``inferno --help`` must not pay for gRPC, pydantic or a database driver, so the group holds placeholders with the one
line that help shows, and puts the real command in a placeholder's place when it is called.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import rich_click as click

from inferno_runtime.errors import InfernoError


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: its name, the line ``--help`` shows, and where it lives as ``module:attribute``."""

    name: str
    summary: str
    target: str


class _Placeholder(click.RichCommand):
    """Stands for a command that is not imported yet."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(name=entry.name, help=entry.summary, add_help_option=False)
        self.target = entry.target

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        command.name = self.name
        return command


class LazyGroup(click.RichGroup):
    """A group of :class:`Entry` commands; errors of ours become one sentence and their own exit code."""

    def add_lazy(self, entry: Entry) -> None:
        """Make a command known without importing it."""
        self.add_command(_Placeholder(entry))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was called, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, _Placeholder):
            command = command.load()
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was called; what it raises on purpose ends the process with a sentence, not a trace."""
        try:
            return super().invoke(ctx)
        except InfernoError as error:
            _fail(ctx, error)
        except BaseExceptionGroup as group:
            from inferno_runtime.lifecycle import first_inferno_error

            first = first_inferno_error(group)
            if first is None:
                raise
            _fail(ctx, first)
        except KeyboardInterrupt:
            from inferno_runtime.lifecycle import INTERRUPTED

            sys.stderr.write("Interrupted.\n")
            ctx.exit(INTERRUPTED)


def _fail(ctx: click.Context, error: InfernoError) -> NoReturn:
    from inferno_runtime.lifecycle import present_error

    present_error(error)
    ctx.exit(error.exit_code)
