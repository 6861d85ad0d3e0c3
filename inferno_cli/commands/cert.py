"""``inferno cert``: the mesh's CA, certificates of its members, and what is wrong with a certificate."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from inferno_cli import output

_FOUND_ERRORS = 3
_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)


@click.group("cert")
def command() -> None:
    """Make the mesh's CA, sign certificates with it, and look at certificates.

    A proxy makes a CA by itself at the first need, in the folder authority of its data folder. Make one before only for
    several proxies of one mesh: they share a copy of it.
    """


@command.command("init")
@click.option("--ca", type=_FOLDER, required=True, metavar="DIR", help="Folder to make the CA in.")
@click.option("--trust-domain", default="inferno", metavar="NAME", help="The mesh's name in certificates (inferno).")
@output.output_option
def init(ca: Path, trust_domain: str, output: output.Format) -> None:
    """Make a CA: its certificate, and a key that must stay secret."""
    from inferno_cli import certificates

    certificates.init(ca, trust_domain, output)


@command.command("issue")
@click.option("--ca", type=_FOLDER, required=True, metavar="DIR", help="Folder with the CA.")
@click.option("--out", type=_FOLDER, required=True, metavar="DIR", help="Folder for the certificate and its key.")
@click.option("--name", metavar="ROLE/NAME", help="A member: operator/ann, client/app, proxy/edge-1 or node/gpu-7.")
@click.option(
    "--host", "hosts", multiple=True, metavar="NAME|IP", help="DNS name or address of a server; may be repeated."
)
@click.option("--lifetime", default="1d", metavar="DURATION", help="How long it is valid, like 12h, 1d, 90d (1d).")
@output.output_option
def issue(ca: Path, out: Path, name: str | None, hosts: tuple[str, ...], lifetime: str, output: output.Format) -> None:
    """Sign a certificate for a member of the mesh, for a server, or for one that is both.

    A new one in the same folder takes the old one's place at once.
    """
    from inferno_cli import certificates, period

    seconds = period.duration(lifetime).total_seconds()
    certificates.issue(ca, out, certificates.Subject(name or "", hosts, seconds), output)


@command.command("show")
@click.argument("file", type=_FILE)
@output.output_option
def show(file: Path, output: output.Format) -> None:
    """Show what the certificates in a PEM file say."""
    from inferno_cli import certificates

    certificates.show(file, output)


@command.command("check")
@click.argument("certificate", type=_FILE)
@click.argument("key", type=_FILE, required=False)
@click.option("--ca", type=_FILE, metavar="FILE", help="CA file to check as well.")
@click.pass_context
def check(ctx: click.Context, certificate: Path, key: Path | None, ca: Path | None) -> None:
    """Check a certificate with its key, as a proxy or a node does before it uses them.

    CERTIFICATE may be a folder that inferno cert issue wrote, or an identity folder of a node or a proxy. Exit code 3
    when something is wrong.
    """
    from inferno_cli import certificates

    ctx.exit(0 if certificates.check(certificate, key, ca) else _FOUND_ERRORS)
