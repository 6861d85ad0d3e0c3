"""``inferno price``: what GPU machines cost, what nodes cost and why, and prices set, imported and refreshed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

from inferno_cli.asking import Asked, asking


@click.group("price")
def command() -> None:
    """Show what machines and nodes cost, and set, import or refresh prices."""


def _offer(made: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument and the options that name one offer."""
    made = click.option("--spot", is_flag=True, help="Its spot price, not the one on demand.")(made)
    made = click.option("--region", default="*", metavar="NAME", help="Region (default *: every region).")(made)
    made = click.option("--cloud", required=True, metavar="NAME", help="Cloud, such as aws, azure, gcp, lambda.")(made)
    return click.argument("instance_type", metavar="INSTANCE_TYPE")(made)


@command.command("ls")
@click.option("--gpu", default="", metavar="NAME", help="Only this family of GPUs, such as H100.")
@click.option("--cloud", default="", metavar="NAME", help="Only this cloud.")
@click.option("--region", default="", metavar="NAME", help="Only this region, and what costs the same in all.")
@click.option("--instance-type", default="", metavar="NAME", help="Only this machine.")
@click.option("--spot/--on-demand", default=None, help="Only spot prices, or only prices on demand.")
@click.option("--max-price", metavar="USD", help="Only up to so much an hour for one GPU.")
@click.option(
    "--state", type=click.Choice(["ok", "stale", "jumped"]), help="Only prices of this state; jumped ones wait."
)
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, which inferno price import takes.")
@click.option("--nodes", is_flag=True, help="What the nodes of the mesh cost now and why, instead of machines.")
@asking
def ls(asked: Asked, nodes: bool, as_csv: bool, **filters: Any) -> None:
    """Show what machines cost, the cheapest GPU first, with the age and the state of each price."""
    from inferno_cli import price_output, prices

    if nodes:
        price_output.show_nodes(prices.nodes(asked), asked.form)
    else:
        price_output.show(prices.listed(asked, prices.wanted(**filters)), "csv" if as_csv else asked.form)


@command.command("history")
@_offer
@asking
def history(asked: Asked, **offer: Any) -> None:
    """Show what a machine cost when, who said so, and what was set aside or replaced."""
    from inferno_cli import price_output, prices

    price_output.show_history(prices.history(asked, prices.offer(**offer)), asked.form)


@command.command("set")
@_offer
@click.argument("usd_per_hour", metavar="USD")
@click.option("--gpu", default="", metavar="NAME", help="Family of its GPUs; needed when the machine is not known.")
@click.option("--gpus", "gpu_count", type=click.IntRange(min=1), default=1, help="How many (default 1).")
@click.option(
    "--gpu-memory", "gpu_memory_gb", type=click.IntRange(min=0), default=0, metavar="GB", help="Memory of one GPU."
)
@click.option("--source", default="", metavar="TEXT", help="Who says so (default: set by hand).")
@click.option("--as-of", default="", metavar="DAY", help="Of which day it is, as 2026-07-20 (default: today).")
@click.option("--confirm", is_flag=True, help="It is right, however far it is from the price in force.")
@click.option("--from", "start", metavar="TIME", help="It was so since then: bill the past again. ISO 8601.")
@click.option("--until", "end", metavar="TIME", help="It was so until then; needs --from.")
@asking
def set_(
    asked: Asked,
    usd_per_hour: str,
    start: str | None,
    end: str | None,
    source: str,
    as_of: str,
    confirm: bool,
    **offer: Any,
) -> None:
    """Set what a machine costs an hour, or confirm a price that waits.

    Without --from it counts from now on, and nothing that is billed changes.
    """
    from inferno_cli import price_output, prices

    request = prices.setting(prices.offer(**offer), usd_per_hour, (start, end), confirm=confirm)
    request.source, request.as_of = source, as_of
    price_output.show_set(prices.put(asked, request), asked.form)


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--confirm", is_flag=True, help="All of it is right, however far it is from the prices in force.")
@asking
def import_(asked: Asked, file: Path, confirm: bool) -> None:
    """Take a CSV table of prices in; inferno price ls --csv shows its columns.

    Rows that are no prices are named by line, and the others count, all in one transaction.
    """
    from inferno_cli import price_output, prices

    price_output.show_import(prices.take_in(asked, prices.read(file), confirm), file, asked.form)


@command.command("refresh")
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="gpuhunt, azure, aws or aws-spot (default: all)."
)
@click.option("--cloud", "clouds", multiple=True, metavar="NAME", help="Only this cloud; may be given again.")
@click.option("--confirm", is_flag=True, help="What they say is right, however far it is from the prices in force.")
@asking
def refresh(asked: Asked, sources: tuple[str, ...], clouds: tuple[str, ...], confirm: bool) -> None:
    """Ask clouds and catalogues for live prices; what the rules refuse is shown and not taken.

    The governator asks: it needs the way to the internet, and for gpuhunt the extra inferno-mesh[prices]. AWS's list
    is long: allow it minutes with --timeout.
    """
    from inferno_cli import price_output, prices

    price_output.show_refresh(prices.refresh(asked, sources, clouds, confirm), asked.form)
