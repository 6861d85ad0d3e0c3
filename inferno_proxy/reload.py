"""Settings read again while the control plane runs: what changed, what needs a restart, and what is refused.

A file with a mistake changes nothing. :func:`compare` decides from values alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from inferno_proxy.events import EventLog
from inferno_proxy.handover import HandOver
from inferno_proxy.settings import ProxySettings
from inferno_runtime import logs
from inferno_runtime.errors import InfernoError, InvalidInput
from inferno_runtime.latest import Latest
from inferno_runtime.settings import Loaded, is_live

_LOG = logs.get("reload")


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that differs: the keys that lead to it, below the section, and where it stands now."""

    keys: tuple[str, ...]
    where: str

    def __str__(self) -> str:
        name = ".".join(("proxy", *self.keys))
        return name if self.where == "default" else f"{name} ({self.where})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """``settings`` are what will be in force; ``changed`` is what differs there from before; ``fixed`` is what would
    differ but needs a restart."""

    settings: ProxySettings
    changed: tuple[Change, ...]
    fixed: tuple[Change, ...]

    def sentence(self) -> str:
        """What happens, in a sentence or two."""
        said = f"Changed: {_listed(self.changed)}." if self.changed else "Nothing changed."
        if self.fixed:
            said += f" Not before the next start: {_listed(self.fixed)}."
        return said


def compare(before: ProxySettings, found: Loaded[ProxySettings]) -> Comparison:
    """Hold what was read against what is in force."""
    after = found.value
    differing = [name for name in ProxySettings.model_fields if getattr(before, name) != getattr(after, name)]
    live = [name for name in differing if is_live(ProxySettings.model_fields[name])]
    return Comparison(
        before.model_copy(update={name: getattr(after, name) for name in live}),
        tuple(change for name in live for change in _changes(before, found, name)),
        tuple(change for name in differing if name not in live for change in _changes(before, found, name)),
    )


def _changes(before: ProxySettings, found: Loaded[ProxySettings], name: str) -> Iterator[Change]:
    one, other = getattr(before, name), getattr(found.value, name)
    if not isinstance(one, Mapping):
        yield Change((name,), found.where(name))
        return
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            yield Change((name, key), found.where(name, key))


def _listed(changes: tuple[Change, ...]) -> str:
    return ", ".join(map(str, changes))


class Reloader:
    """Keeps the settings in force. ``take_over`` builds from new ones and puts them in force; it raises an
    :class:`InfernoError` when they are no good, and then the old ones stay."""

    def __init__(
        self,
        handed: HandOver,
        take_over: Callable[[Comparison], Awaitable[None]],
        keep: Callable[[HandOver], None],
        events: EventLog,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._handed = handed
        self._take_over = take_over
        self._keep = keep
        self._events = events
        self._env = os.environ if env is None else env

    async def run(self, hangups: Latest[int]) -> None:
        """Read the settings again at each hangup, until cancelled."""
        async for count in hangups.watch():
            if count:
                await self.again()

    async def again(self) -> None:
        """Read the settings; take them over, or say why not."""
        subject = str(self._handed.origin.file or "the environment")
        try:
            found = await asyncio.to_thread(self._handed.origin.read, self._env)
            comparison = compare(self._handed.settings, found)
            if comparison.changed:
                await self._take_over(comparison)
        except InfernoError as error:
            self._events.healed(
                "CONFIG_REFUSED",
                subject,
                cause="The settings that were read are no good",
                evidence=error.sentence().rstrip("."),
                effect="those of before stay in force",
            )
            return
        self._handed = replace(self._handed, settings=comparison.settings)
        try:
            await asyncio.to_thread(self._keep, self._handed)
        except OSError as error:
            _LOG.error("settings not kept", reason=error.strerror, effect="a restart begins with those of before")
        self._events.add("CONFIG_RELOADED", subject, comparison.sentence())


def refused(message: str) -> InvalidInput:
    """Settings that are valid each by itself and yet no good."""
    return InvalidInput(message, reason="BAD_CONFIG", fix="Correct it and send SIGHUP again.")
