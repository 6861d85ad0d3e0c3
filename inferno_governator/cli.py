"""``inferno governator``: run the governator. Only settings are imported until it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click

from inferno_governator.settings import GovernatorSettings
from inferno_runtime import settings as settings_loader


@click.command("governator", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", type=click.Path(path_type=Path), default=None, help="YAML file; its section governator is read."
)
@settings_loader.click_options(GovernatorSettings)
@click.pass_context
def command(ctx: click.Context, /, config: Path | None, **flags: object) -> None:
    """Run the governator: it stores what nodes measure and says what each node and model did and cost.

    It serves inferno.governance.v1.GovernanceService, gRPC health and reflection. SIGINT or SIGTERM ends it once
    everything it has accepted is on disk.
    """
    from inferno_runtime import lifecycle, logs

    loaded = settings_loader.load(GovernatorSettings, file=config, env=os.environ, flags=flags).value
    logs.configure(loaded.log_format, loaded.log_level)
    from inferno_governator import app

    async def main(stop: lifecycle.Stop) -> None:
        await app.serve(loaded, stop)

    ctx.exit(lifecycle.run(main))


def main() -> None:
    """``inferno-governator``: run the command and end the process with its exit code."""
    from inferno_runtime.errors import InfernoError
    from inferno_runtime.lifecycle import present_error

    try:
        command.main(prog_name="inferno-governator")
    except InfernoError as error:
        present_error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
