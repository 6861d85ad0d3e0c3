"""``inferno profile``: where a proxy's time or memory goes, recorded while it serves."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from inferno_cli import endpoint as mesh

_SUBJECTS = ("control-plane", "envoy-allocations", "envoy-heap")


@click.command("profile")
@mesh.endpoint_option
@click.option(
    "--of",
    "subject",
    type=click.Choice(_SUBJECTS),
    default=_SUBJECTS[0],
    help="What to look at (default control-plane).",
)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=10.0, metavar="SECONDS", help="For how long (default 10)."
)
@click.option(
    "-o", "--file", "file", type=click.Path(path_type=Path), default=None, metavar="FILE", help="Where to write it."
)
def command(endpoint: mesh.Endpoint, subject: str, seconds: float, file: Path | None) -> None:
    """Record a profile of a running proxy and write it to a file. For operators.

    The control plane's is collapsed stacks, for speedscope or a flame graph; those of Envoy are pprof files.
    """
    from inferno_cli import profiles

    profile = mesh.within(seconds + 30, lambda: profiles.record(endpoint, subject, seconds), f"Recording at {endpoint}")
    place = file or Path(f"inferno-{subject}.{'folded' if subject == _SUBJECTS[0] else 'pb.gz'}")
    place.write_bytes(profile)
    click.echo(f"{len(profile)} bytes in {place}", err=True)
