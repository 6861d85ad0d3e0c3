"""Measures a model's capacity curve, step by step; whoever runs it hears of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferno_backend.benchmark import curve, requests
from inferno_backend.benchmark.curve import Step
from inferno_backend.benchmark.load import Effort, Load
from inferno_runtime.errors import InfernoError, InvalidInput, Unsupported

_EFFORT = Effort()
# The first request to a model may have to wait until it is compiled.
_FIRST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: ``batches`` empty are the usual ones (see :func:`inferno_backend.benchmark.curve.batches`);
    ``input_file`` is one request, which then has the only batch."""

    objective_ms: float | None = None
    batches: tuple[int, ...] = ()
    most_concurrency: int = 256
    input_file: Path | None = None
    effort: Effort = _EFFORT


def check(config: Any) -> None:
    """Refuse a model whose calls a closed loop of single answers cannot make.

    Raises:
        Unsupported: It is decoupled or stateful.
    """
    if config.model_transaction_policy.decoupled:
        raise Unsupported(
            f"The model {config.name} is decoupled: a call has any number of answers, so requests per second do not "
            "say what it can do.",
            reason="DECOUPLED_MODEL",
            fix="Measure it with a client that counts what its stream brings.",
        )
    if config.HasField("sequence_batching"):
        raise Unsupported(
            f"The model {config.name} is stateful: single requests without a sequence are refused by it.",
            reason="STATEFUL_MODEL",
            fix="Measure it with a client that sends whole sequences.",
        )


def made_requests(metadata: Any, config: Any, plan: Plan) -> dict[int, bytes]:
    """An encoded request for each client batch.

    Raises:
        InvalidInput: A batch is larger than the model takes, or the input file is of no use.
        Unsupported: Nothing can be made for an input.
    """
    if plan.input_file is not None:
        request, batch = requests.from_file(plan.input_file, metadata, config)
        return {batch: request}
    most = max(1, config.max_batch_size)
    if plan.batches and max(plan.batches) > most:
        raise InvalidInput(
            f"The model {config.name} takes at most {most} in a batch, not {max(plan.batches)}.",
            reason="BATCH_TOO_LARGE",
            fix="Give smaller ones with --batch.",
        )
    return {
        batch: requests.generated(metadata, config, batch)
        for batch in plan.batches or curve.batches(config.max_batch_size)
    }


async def try_out(load: Load, model: str, made: dict[int, bytes]) -> None:
    """Send each request once, however long it takes.

    Raises:
        InvalidInput: The model refuses it; with what it said.
        InfernoError: There is no answer.
    """
    for batch, request in made.items():
        try:
            await load.once(request, _FIRST_SECONDS)
        except InfernoError as error:
            if error.temporary:
                raise
            said = error.message.splitlines()[0].rstrip(".")
            raise InvalidInput(
                f"The model {model} fails on a request with batch {batch}: {said}.",
                reason="REQUEST_REFUSED",
                fix="Give a request it can answer with --input FILE.",
            ) from error


async def measure(
    load: Load, made: dict[int, bytes], plan: Plan, tell: Callable[[Step], None]
) -> dict[int, Sequence[Step]]:
    """The curve of each batch. ``tell`` hears of each step as soon as it is measured.

    Raises:
        InfernoError: A step had no answer at all.
    """
    curves: dict[int, Sequence[Step]] = {}
    for batch, request in made.items():
        steps: list[Step] = []
        curves[batch] = steps
        for concurrency in curve.concurrencies(plan.most_concurrency):
            step = await load.step(request, batch, concurrency, plan.effort)
            steps.append(step)
            tell(step)
            if curve.over(steps, plan.objective_ms):
                break
    return curves
