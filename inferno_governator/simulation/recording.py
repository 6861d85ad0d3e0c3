"""Demand as it was recorded: what came for a model in each minute, made into a trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inferno_governator.analysis.periods import Period
from inferno_governator.simulation.trace import RateTrace
from inferno_governator.store.demand import MinuteDemand
from inferno_runtime.errors import NotFound


def trace(model: str, over: Period, minutes: Sequence[MinuteDemand]) -> RateTrace:
    """The demand of a period; a minute of which nobody told had no request.

    Raises:
        NotFound: Nothing came.
    """
    total = sum(each.requests for each in minutes)
    if not total:
        raise NotFound(
            f"No request for the model {model!r} was recorded in that time.",
            reason="NO_DEMAND",
            fix="Name a model as inferno cost shows it, and a time in which it was asked.",
        )
    rates = np.zeros(over.minutes)
    for each in minutes:
        rates[each.minute - over.start_minute] = each.requests / 60
    tokens = [sum(each.input_tokens for each in minutes), sum(each.output_tokens for each in minutes)]
    return RateTrace(model, rates, 60.0, tokens[0] / total, tokens[1] / total, over.start_minute * 60.0)
