"""``inferno``: the command group. Nothing heavy is imported until a command is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click

from inferno_cli.lazy import Entry, LazyGroup

_PANELS: dict[str, tuple[Entry, ...]] = {
    "Run the mesh": (
        Entry(
            "up", "Start a whole mesh on this machine: governator, proxy and nodes.", "inferno_cli.commands.up:command"
        ),
        Entry("proxy", "Run a proxy: the public port and its control plane.", "inferno_proxy.cli:command"),
        Entry(
            "backend",
            "Run a node: a Triton and the agent that registers it; measure it, tune its models.",
            "inferno_backend.cli:command",
        ),
        Entry("governator", "Run the governator: telemetry in, the bill out.", "inferno_governator.cli:command"),
    ),
    "Use the mesh": (
        Entry(
            "infer", "Ask a model something: from files, flags, JSON or stdin.", "inferno_cli.commands.infer:command"
        ),
        Entry(
            "status",
            "Show whether the mesh serves, from where, and what is wrong.",
            "inferno_cli.commands.status:command",
        ),
        Entry("cost", "Show what each node and model did and cost.", "inferno_cli.commands.cost:command"),
        Entry("budget", "Say what may be spent, and see what is left of it.", "inferno_cli.commands.budget:command"),
        Entry(
            "watch", "See objectives, burn rates and alerts with their causes.", "inferno_cli.commands.watch:command"
        ),
        Entry("price", "Show, set, import and refresh prices.", "inferno_cli.commands.price:command"),
        Entry("forecast", "Show the demand that is expected, and why.", "inferno_cli.commands.forecast:command"),
        Entry("plan", "Find the cheapest fleet, compare clouds, hold growth.", "inferno_cli.commands.plan:command"),
        Entry(
            "capacity",
            "Show what each model can do on each node, as measured.",
            "inferno_cli.commands.capacity:command",
        ),
        Entry(
            "simulate",
            "Replay a trace on hypothetical fleets and compare costs.",
            "inferno_cli.commands.simulate:command",
        ),
    ),
    "Operate the mesh": (
        Entry("drain", "Stop new work to a node and let what runs finish.", "inferno_cli.commands.drain:drain"),
        Entry("undrain", "Let a drained node take work again.", "inferno_cli.commands.drain:undrain"),
        Entry(
            "decisions",
            "See, explain, approve and check what is started and stopped.",
            "inferno_cli.commands.decisions:command",
        ),
        Entry(
            "mesh",
            "Order weights, splits, limits and quarantines; see orders, events and acts.",
            "inferno_cli.commands.mesh:command",
        ),
    ),
    "Secure the mesh": (
        Entry("token", "Make, list and revoke the tokens new members join with.", "inferno_cli.commands.token:command"),
        Entry("key", "Make API keys for clients of the public port.", "inferno_cli.commands.key:command"),
        Entry("cert", "Make the mesh's CA, sign and check certificates.", "inferno_cli.commands.cert:command"),
    ),
    "Find out what is wrong": (
        Entry("explain", "Say where calls go and why, or what became of one.", "inferno_cli.commands.explain:command"),
        Entry("check", "Check this machine and a running mesh for known traps.", "inferno_cli.commands.check:command"),
        Entry("profile", "Record where a running proxy's time or memory goes.", "inferno_cli.commands.profile:command"),
        Entry(
            "config",
            "Check, show or describe the settings file, without starting anything.",
            "inferno_cli.commands.config:command",
        ),
    ),
}


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"inferno {version('inferno-mesh')}")
    ctx.exit()


@click.rich_config(help_config={"theme": "slim"})
@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and exit.",
)
def command() -> None:
    """An inference mesh for NVIDIA Triton: one public port, discovery, healing, telemetry and cost.

    Data goes to standard output, messages to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check
    found errors, 4 a component cannot be reached, 5 denied, 124 timed out, 130 interrupted.
    """


for _title, _entries in _PANELS.items():
    for _entry in _entries:
        command.add_lazy(_entry)
    command.add_panel(click.RichCommandPanel(_title, commands=[each.name for each in _entries]))


def main() -> None:
    """Run the command line and end the process with its exit code."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        # Python has None for a stream that the caller closed (``>&-``), who wants nothing but the exit code.
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
        command.main(prog_name="inferno")


if __name__ == "__main__":
    main()
