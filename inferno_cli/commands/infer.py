"""``inferno infer``: ask any model something, without code."""

from __future__ import annotations

import rich_click as click

from inferno_cli import endpoint as mesh
from inferno_cli import output

# Headers that carry credentials.
_SECRET = ("authorization", "x-api-key")


def _headers(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [text.partition("=") for text in texts]
    if any(not equals or not name for name, equals, _ in pairs):
        raise click.BadParameter("a header is written NAME=VALUE")
    if any(name.lower() in _SECRET for name, _, _ in pairs):
        raise click.BadParameter("others on this machine can read a command line: give a key or token with --key-file")
    return tuple((name.lower(), value) for name, _, value in pairs)


def _sequence(_: click.Context, __: click.Parameter, text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


@click.command("infer")
@click.argument("model")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="A value (JSON or text), or NAME=@FILE.")
@click.option("--json", "body", metavar="JSON|@FILE|-", help='All inputs: {"name": value}, or a REST request body.')
@click.option("--model-version", default="", metavar="VERSION", help="Version of the model (default: its policy's).")
@click.option("--sequence-id", callback=_sequence, metavar="ID", help="Sequence this request belongs to.")
@click.option("--start", is_flag=True, help="The request begins the sequence.")
@click.option("--end", is_flag=True, help="The request ends the sequence.")
@click.option("--header", "headers", multiple=True, callback=_headers, metavar="NAME=VALUE", help="gRPC metadata.")
@mesh.endpoint_option
@mesh.timeout_option(60.0)
@output.output_option
def command(  # noqa: PLR0913, PLR0917 - one parameter for each option
    model: str,
    files: tuple[str, ...],
    inputs: tuple[str, ...],
    body: str | None,
    model_version: str,
    sequence_id: int | str | None,
    start: bool,
    end: bool,
    headers: tuple[tuple[str, str], ...],
    endpoint: mesh.Endpoint,
    timeout: float,
    output: output.Format,
) -> None:
    """Ask MODEL something: from files, flags, JSON or standard input (-).

    A file goes to the model's one input: as it is where the input takes bytes, otherwise as JSON or .npy. Several files
    make a batch. Values are checked against the model's own metadata before anything is sent. With -o json there is
    one JSON object on a line for each answer.

    Examples: inferno infer filetype README.md · inferno infer sum --input 'numbers=[1,2]' · cat x | inferno infer m -
    """
    from inferno_cli.inference import arguments
    from inferno_cli.inference.ask import ask
    from inferno_cli.inference.call import Options

    given = arguments.read(files, inputs, body)
    options = Options(model_version, sequence_id, start, end, headers, timeout)
    mesh.within(timeout, lambda: ask(endpoint, model, given, options, output), f"Asking {model}")
