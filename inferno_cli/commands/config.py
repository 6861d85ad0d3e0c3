"""``inferno config``: the settings file, looked at without starting anything."""

from __future__ import annotations

import os
from pathlib import Path

import rich_click as click

from inferno_cli import output

_MISTAKES = 2
_KIND = click.option(
    "--for",
    "kind",
    type=click.Choice(["settings", "nodes"]),
    default="settings",
    help="Which file: the settings, or a list of nodes (proxy.discovery_file); default settings.",
)


@click.group("config", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Check, show or describe the settings file, without starting anything."""


@command.command("schema")
@_KIND
def schema(kind: str) -> None:
    """Print the JSON Schema of the file, for editors.

    With yaml-language-server: save it beside the file, and begin the file with the line
    "# yaml-language-server: $schema=FILE".
    """
    import json

    from inferno_cli import configuration

    output.print_line(json.dumps(configuration.schema(kind), indent=2))


@command.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
@_KIND
@click.pass_context
def validate(ctx: click.Context, /, file: Path, kind: str) -> None:
    """Say what is wrong with a file: each mistake with its line and the reason.

    Exit code 0 when nothing is wrong, 2 otherwise.
    """
    from inferno_cli import configuration
    from inferno_runtime.lifecycle import present_error

    found = configuration.mistakes(file, kind)
    for each in found:
        present_error(each)
    if found:
        ctx.exit(_MISTAKES)
    output.print_line(f"{file}: nothing is wrong.")


@command.command("view")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The settings file.")
@click.option("--origin", is_flag=True, help="Show where each value comes from as well.")
@click.option(
    "-o", "--output", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="YAML (default) or JSON."
)
def view(config: Path | None, origin: bool, form: str) -> None:
    """Print every option as it would hold with this file and the environment.

    Passwords inside addresses are left out.
    """
    from inferno_cli import configuration

    settings = configuration.in_force(config, os.environ)
    if form == "yaml":
        output.print_line(configuration.as_yaml(settings, origins=origin))
        return
    document: dict[str, dict[str, object]] = {}
    for each in settings:
        value = {"value": each.value, "origin": each.origin} if origin else each.value
        document.setdefault(each.section, {})[each.name] = value
    output.print_json(document)
