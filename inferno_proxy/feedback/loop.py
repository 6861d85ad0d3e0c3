"""The task around the learner: asks it twice a second, hands its advice on and reports what it did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace

from inferno_proxy.events import EventLog
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.learner import Learner
from inferno_proxy.feedback.observed import Counts
from inferno_proxy.publishing.publisher import Recipe
from inferno_proxy.registry.registry import Registry
from inferno_proxy.supervisor.act import Act
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

_INTERVAL = 0.5
# A look at a fleet of thousands takes long: it may have this part of the time.
_PART = 0.2
_LOG = logs.get("learning")


class Learning:
    """Keeps ``advice`` up to date with what ``learner`` is given."""

    def __init__(
        self, registry: Registry, recipe: Latest[Recipe], advice: Latest[Advice], events: EventLog, clock: Clock
    ) -> None:
        self.learner = Learner(self._budget, self._max_wait)
        self._registry = registry
        self._recipe = recipe
        self._advice = advice
        self._events = events
        self._clock = clock

    def counts(self, counts: Iterable[Counts]) -> None:
        """Take data planes' counts in. Retries that help nobody do not wait for the next round: each costs."""
        self.learner.counts(counts)
        self._hand_on(replace(self._advice.value, hopeless=self.learner.hopeless))

    async def run(self) -> None:
        """Learn until cancelled."""
        took = 0.0
        while True:
            await self._clock.sleep(max(_INTERVAL, took / _PART))
            now = self._clock.monotonic()
            try:
                learned = self.learner.advise(self._registry.view.value, now, self._registry.loads())
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a judgement, calls go on without it
                _LOG.error("nothing can be learned", exc_info=error)
                learned = Advice()
            before = self._advice.value
            self._hand_on(replace(learned, quarantined=before.quarantined, watched=before.watched))
            took = self._clock.monotonic() - now

    def _hand_on(self, advice: Advice) -> None:
        self._advice.set(advice)
        report(self.learner.take_acts(), self._events)

    def _budget(self, model: str) -> float:
        return self._recipe.value.routing.may_repeat(model)

    def _max_wait(self, model: str) -> float:
        """Less than the time after which the operator wants a second try: of calls that wait, each would get one."""
        traffic = self._recipe.value.routing.traffic.of(model)
        return min(traffic.max_wait, traffic.hedge_after / 2 or traffic.max_wait)


def report(acts: Iterable[Act], events: EventLog) -> None:
    """Make an event of each act."""
    for act in acts:
        events.healed(**asdict(act))
