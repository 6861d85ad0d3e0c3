"""``inferno backend tune``: find a model's best configuration. Only settings are imported until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from inferno_backend.settings import BackendSettings, Given
from inferno_runtime import settings as runtime

SHARED = ("model_repository", "triton_binary", "data_dir", "start_timeout", "log_format", "log_level")
OWN = (
    "objective_ms", "instances", "max_batch", "most_concurrency", "step_seconds", "rounds", "input_file", "apply",
)  # fmt: skip


@click.command("tune")
@click.argument("model")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="YAML; its section backend is read.")
@runtime.click_options(BackendSettings, only=SHARED)
@click.option(
    "--objective-p99",
    "objective_ms",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    metavar="MS",
    help="Latency that 99 % of requests must keep.",
)
@click.option("--instances", type=click.IntRange(1), help="Most instances to try (default: CPUs, or 4 with a GPU).")
@click.option("--max-batch", type=click.IntRange(1), help="Largest batch to try (default: the model's own).")
@click.option(
    "--sweep", default="", metavar="WHAT[,...]", help="Only batching, instances, delay or preferred (default all)."
)
@click.option(
    "--most-concurrency", type=click.IntRange(1, 4096), default=64, help="Most requests in flight (default 64)."
)
@click.option(
    "--step-seconds", type=click.FloatRange(0.1, 600), default=1.0, help="Least time of one measurement (default 1)."
)
@click.option(
    "--rounds", type=click.IntRange(6, 100), default=7, help="Comparisons side by side at the end (default 7)."
)
@click.option(
    "--input",
    "input_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A request in the protocol's JSON; made from the model's metadata without it.",
)
@click.option("--apply", is_flag=True, help="Put the better configuration into the repository; the old one is kept.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Table or JSON.")
@click.pass_context
def command(ctx: click.Context, /, model: str, config: Path | None, sweep: str, output: str, **flags: Any) -> None:
    """Find how MODEL does most within a latency objective: batches, delay, instances.

    Points are tried in a Triton of its own over a copy of the repository. The best one is measured against the present
    one, in turn; only if it is better then is it called better. Writes config.pbtxt, tuning.json and tuning.svg into
    the data folder. Ctrl-C stops it; the same command goes on.
    """
    given: Given = ctx.obj
    own = {name: flags.pop(name) for name in OWN}
    settings = given.load(config, flags)
    from inferno_backend.tuning import command as tuning
    from inferno_runtime import lifecycle, logs

    logs.configure(settings.log_format, settings.log_level)
    wanted = tuning.Wanted(model=model, sweep=tuning.sweep_of(sweep), json=output == "json", **own)
    run = tuning.Tune(settings, wanted)
    status = lifecycle.run(run.run)
    ctx.exit(status or run.status)
