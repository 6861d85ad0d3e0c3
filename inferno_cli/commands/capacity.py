"""``inferno capacity``: what models can do on the nodes of the mesh, as benchmarks there measured it."""

from __future__ import annotations

import rich_click as click

from inferno_cli import endpoint as mesh
from inferno_cli import output


@click.command("capacity")
@click.option("--node", default="", metavar="NAME", help="Only this node.")
@click.option("--model", default="", metavar="NAME", help="Only this model.")
@click.option(
    "--objective-p99",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="Latency that 99 % must keep (default: the one it was measured for).",
)
@click.option("--devices", is_flag=True, help="What the nodes' CPUs and GPUs can do, instead of models.")
@mesh.endpoint_option
@mesh.timeout_option(10.0)
@output.output_option
def command(
    node: str,
    model: str,
    objective_p99: float | None,
    devices: bool,
    endpoint: mesh.Endpoint,
    timeout: float,
    output: output.Format,
) -> None:
    """Show what each model can do on each node: its throughput within the latency objective.

    Nodes measure it with inferno backend bench and send it to the governator. JSON carries the whole curves.
    """
    from inferno_cli import capacities

    found = mesh.within(
        timeout, lambda: capacities.ask(endpoint, node, model, timeout), f"Asking the mesh at {endpoint}"
    )
    if devices:
        capacities.show_devices(found.devices, output)
    else:
        capacities.show(found.reports, objective_p99, output)
