"""``inferno up``: a whole mesh on this machine, under one parent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from inferno_cli import output


@click.command("up")
@click.option("--nodes", type=click.IntRange(0, 64), default=2, metavar="N", help="Nodes to start (default 2).")
@click.option(
    "--model-repository",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Triton models every node serves (default: the file-type demonstration model).",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT", help="Public port; 0 picks a free one (default 8080)."
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for data, sockets and logs (default: inferno in the XDG data folder).",
)
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="YAML with sections proxy, backend, governator."
)
@click.option("--verbose", "-v", is_flag=True, help="Show the components' logs too.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=120.0,
    metavar="SECONDS",
    help="Give up when not ready after (default 120).",
)
@click.option(
    "--governator",
    type=click.Choice(["observe", "advise", "act"]),
    help="What follows from decisions about nodes: nothing, proposals, or actions (default: the configuration).",
)
@click.option(
    "--provider",
    type=click.Choice(["local"]),
    help="Who starts the nodes: local lets the governator start and stop processes here, within --max-nodes.",
)
@click.option(
    "--max-nodes", type=click.IntRange(0, 64), metavar="M", help="Nodes there may be at most (default: --nodes)."
)
@output.output_option
@click.pass_context
def command(ctx: click.RichContext, /, **given: Any) -> None:
    """Start a whole mesh on this machine: governator, proxy and nodes.

    Every process is a child of this one: Ctrl-C stops the nodes, then the proxy, then the governator, within ten
    seconds; a second Ctrl-C does not wait for it. A component that dies is started again. SIGHUP has the proxy read the
    file given with --config again.

    With --provider local and --governator act the nodes are the governator's: it starts more while their objective is
    at risk, replaces what is lost, and stops what is not needed, between --nodes and --max-nodes.
    """
    from inferno_cli.cloud.up import Request, up
    from inferno_runtime import lifecycle

    ctx.exit(lifecycle.run(lambda stop: up(Request(**given), stop)))
