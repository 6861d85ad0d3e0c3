"""What demand is expected, as the governator forecasts it and people read it."""

from __future__ import annotations

from typing import Any

from inferno.governance.v1.forecast_pb2 import Forecast, ForecastScore, ListForecastsRequest
from inferno_cli import governing, output
from inferno_cli.asking import Asked
from inferno_cli.output import Column


def show(asked: Asked, model: str, *, scores: bool) -> None:
    """Print what is expected of models, and with ``scores`` how each way to forecast did instead.

    Raises:
        InfernoError: The governator does not answer, or refuses.
    """
    request = ListForecastsRequest(model=model)
    answer = governing.ask(asked, lambda stub: stub.ListForecasts(request, timeout=asked.timeout), "forecasts")
    rows = [document(each) for each in answer.forecasts]
    if asked.form == "json":
        output.print_json(rows)
    elif not rows:
        output.print_line("Nothing is forecast: the governator has no pool of nodes (governator.pools).")
    elif scores:
        told = [{"model": row["model"], **score} for row in rows for score in row["scores"]]
        output.print_line(output.table(_SCORES, told) if told else "The past was not asked yet: too little is known.")
    else:
        output.print_line(output.table(_FORECASTS, rows))


def document(one: Forecast) -> dict[str, Any]:
    """A forecast as JSON values; rates are requests a second."""
    return {
        "model": one.model,
        "rate": one.rate,
        "expected": one.expected,
        "quantile": one.quantile,
        "boot_seconds": one.boot_seconds,
        "by": next((each.name for each in one.scores if each.chosen), "last value"),
        "scores": [_score(each) for each in one.scores],
    }


def _score(one: ForecastScore) -> dict[str, Any]:
    judged = one.judged > 0
    return {
        "name": one.name,
        "wape": one.wape if judged else None,
        "pinball": one.pinball if judged else None,
        "judged": one.judged,
        "chosen": one.chosen,
        "why": one.why,
    }


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _rate(value: float) -> str:
    return f"{value:.4g}"


_FORECASTS = (
    Column("model", "MODEL"),
    Column("rate", "REQUESTS/S", _rate, right=True),
    Column("expected", "EXPECTED", _rate, right=True),
    Column("quantile", "QUANTILE", lambda value: f"{value:.0%}", right=True),
    Column("boot_seconds", "AHEAD", lambda value: f"{value:.0f} s", right=True),
    Column("by", "BY"),
)
_SCORES = (
    Column("model", "MODEL"),
    Column("name", "BY"),
    Column("wape", "WAPE", _percent, right=True),
    Column("pinball", "PINBALL", _percent, right=True),
    Column("judged", "JUDGED", right=True),
    Column("why", "WHY"),
)
