"""All objectives, of the settings file and of calls. Where both have one of a model, the file's counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inferno_governator.store import objectives
from inferno_governator.store.store import Store
from inferno_governator.watch.objective import Objective, check
from inferno_runtime.errors import AlreadyExists, NotFound


class ObjectiveKeeper:
    """Objectives by model; ``settled`` are those of the settings file."""

    def __init__(self, store: Store, settled: Iterable[Objective]) -> None:
        self._store = store
        self.settled: Mapping[str, Objective] = {each.model: each for each in settled}

    async def objectives(self) -> list[Objective]:
        """Every objective by model.

        Raises:
            Unavailable: The store cannot be read now.
        """
        async with self._store.reading() as connection:
            kept = {each.model: each for each in await objectives.read(connection)}
        return [objective for _, objective in sorted({**kept, **self.settled}.items())]

    def is_settled(self, model: str) -> bool:
        """True for an objective of the settings file."""
        return model in self.settled

    async def set(self, objective: Objective) -> None:
        """Keep an objective, in the place of the one of that model; when this returns it is on disk.

        Raises:
            InvalidInput: It is impossible.
            AlreadyExists: The settings file has one of that model.
            Unavailable: It is not stored.
        """
        self._refuse_settled(check(objective).model)
        async with self._store.writing() as connection:
            await objectives.write(connection, objective)

    async def delete(self, model: str) -> None:
        """Forget an objective.

        Raises:
            NotFound: There is none of that model.
            AlreadyExists: It is the settings file's.
            Unavailable: It is not deleted.
        """
        self._refuse_settled(model)
        async with self._store.writing() as connection:
            gone = await objectives.drop(connection, model)
        if not gone:
            raise NotFound(
                f"There is no objective of model {model[:80]!r}.",
                reason="NO_OBJECTIVE",
                fix="See: inferno watch objective ls",
            )

    def _refuse_settled(self, model: str) -> None:
        if model in self.settled:
            raise AlreadyExists(
                f"The objective of model {model!r} is set in the settings file.",
                reason="OBJECTIVE_IN_SETTINGS",
                fix="Change governator.objectives there and start the governator again.",
            )
