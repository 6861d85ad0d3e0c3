"""``inferno backend bench``: measure what this node can do. Only settings are imported until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from inferno_backend.settings import BackendSettings, Given
from inferno_runtime import settings as runtime

SHARED = (
    "model", "model_repository", "triton_url", "triton_binary", "discovery_lb", "node_id", "data_dir", "start_timeout",
    "log_format", "log_level",
)  # fmt: skip
OWN = ("hardware", "objective_ms", "most_concurrency", "step_seconds", "input_file")


@click.command("bench")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="YAML; its section backend is read.")
@runtime.click_options(BackendSettings, only=SHARED)
@click.option("--hardware/--no-hardware", default=True, help="Measure the GPUs and CPUs (default on).")
@click.option(
    "--objective-p99",
    "objective_ms",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="Latency that 99 % must keep.",
)
@click.option("--batch", metavar="N[,...]", help="Inferences in a request (default 1, 4, 16... up to the most).")
@click.option(
    "--most-concurrency", type=click.IntRange(1, 4096), default=256, help="Most requests in flight (default 256)."
)
@click.option(
    "--step-seconds", type=click.FloatRange(0.1, 600), default=2.0, help="Least time of one measurement (default 2)."
)
@click.option(
    "--input",
    "input_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A request in the protocol's JSON; made from the model's metadata without it.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Table or JSON.")
@click.pass_context
def command(ctx: click.Context, /, config: Path | None, batch: str | None, output: str, **flags: Any) -> None:
    """Measure what this node can do: its hardware, and each model's throughput and latency.

    With --model-repository a Triton of its own is started for it; with --triton-url a running one is measured. Results
    are kept in the data folder and compared with earlier ones; with --discovery-lb the governator gets them.
    Exit code 3: a device is 15 % or more too slow.
    """
    given: Given = ctx.obj
    own = {name: flags.pop(name) for name in OWN}
    settings = given.load(config, flags)
    from inferno_backend.benchmark import command as bench
    from inferno_runtime import lifecycle, logs

    logs.configure(settings.log_format, settings.log_level)
    run = bench.Bench(settings, bench.Wanted(**own, batches=bench.batches_of(batch or ""), json=output == "json"))
    status = lifecycle.run(run.run)
    ctx.exit(status or run.status)
