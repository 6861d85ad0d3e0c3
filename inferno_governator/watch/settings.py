"""Objectives of models in the settings file: ``governator.objectives``, by the model's name."""

from __future__ import annotations

import pydantic

from inferno_governator.watch.objective import DAYS, Objective
from inferno_runtime.settings import option


class ObjectiveSettings(pydantic.BaseModel):
    """What a model promises. Requests that fail, take longer, or wait too long in the queue are bad."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    share: float = option(0.99, help="Share of the requests that must be good.", gt=0, lt=1)
    latency_ms: float = option(0.0, help="What a good request takes at most, in the proxy's eyes; 0: any time.", ge=0)
    queue_ms: float = option(0.0, help="Mean time in the node's queue beyond which a minute is bad; 0: any.", ge=0)
    days: int = option(DAYS, help="Period of the error budget, in days.", ge=1, le=90)

    def objective(self, model: str) -> Objective:
        """The same as a plain value."""
        return Objective(model, self.share, round(self.latency_ms * 1000), round(self.queue_ms * 1000), self.days)
