"""``inferno backend``: run a node, measure it, tune its models. Only settings are imported until one of them runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click

from inferno_backend.benchmark.cli import command as bench
from inferno_backend.settings import BackendSettings, Given
from inferno_backend.tuning.cli import command as tune
from inferno_runtime import settings as runtime


@click.group("backend", invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="YAML; its section backend is read.")
@runtime.click_options(BackendSettings)
@click.pass_context
def command(ctx: click.Context, /, config: Path | None, **flags: object) -> None:
    """Run a node: start a Triton (or attach to one), register it, watch it and measure it.

    SIGINT or SIGTERM drains the node and ends it. When the agent dies, its Triton goes on serving, and the next agent
    with the same data folder takes it over.
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = Given(config, flags)
        return
    from inferno_runtime import lifecycle, logs

    loaded = runtime.load(BackendSettings, file=config, env=os.environ, flags=flags).value
    logs.configure(loaded.log_format, loaded.log_level)
    from inferno_backend import app

    async def run(stop: lifecycle.Stop) -> None:
        await app.serve(loaded, stop)

    ctx.exit(lifecycle.run(run))


command.add_command(bench)
command.add_command(tune)


def main() -> None:
    """``inferno-backend``: run the command and end the process with its exit code."""
    from inferno_runtime.errors import InfernoError
    from inferno_runtime.lifecycle import present_error

    try:
        command.main(prog_name="inferno-backend")
    except InfernoError as error:
        present_error(error)
        sys.exit(error.exit_code)
