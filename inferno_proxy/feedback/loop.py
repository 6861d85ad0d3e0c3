"""The task around the learner: asks it twice a second, hands its advice on and reports what it did."""

from __future__ import annotations

from inferno_proxy.events import EventLog
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.learner import Learner
from inferno_proxy.publisher import Recipe
from inferno_proxy.registry import Registry
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

_INTERVAL = 0.5


class Learning:
    """Keeps ``advice`` up to date with what ``learner`` is given."""

    def __init__(
        self, registry: Registry, recipe: Latest[Recipe], advice: Latest[Advice], events: EventLog, clock: Clock
    ) -> None:
        self.learner = Learner(self._budget)
        self._registry = registry
        self._recipe = recipe
        self._advice = advice
        self._events = events
        self._clock = clock

    async def run(self) -> None:
        """Learn until cancelled."""
        while True:
            await self._clock.sleep(_INTERVAL)
            now = self._clock.monotonic()
            self._advice.set(self.learner.advise(self._registry.view.value, now, self._registry.loads()))
            for act in self.learner.take_acts():
                self._events.healed(
                    act.kind,
                    act.subject,
                    cause=act.cause,
                    evidence=act.evidence,
                    effect=act.effect,
                    seconds=act.seconds,
                )

    def _budget(self, model: str) -> float:
        return self._recipe.value.routing.may_repeat(model)
