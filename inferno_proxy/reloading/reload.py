"""Settings read again while the control plane runs: what changed, what needs a restart, and what is refused.

A file with a mistake changes nothing. :func:`compare` decides from values alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from inferno_proxy.events import EventLog
from inferno_proxy.orders.order import EMPTY, Book, Key, Order, without
from inferno_proxy.orders.overlay import laid, patches
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import HandOver
from inferno_runtime import logs, watched_file
from inferno_runtime.clock import Clock
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
        return self._name if self.where == "default" else f"{self._name} ({self.where})"

    def told(self) -> str:
        """The setting after its place, as mistakes in settings are told."""
        return self._name if self.where == "default" else f"{self.where}: {self._name}"

    @property
    def _name(self) -> str:
        return ".".join(("proxy", *self.keys))


class Refused(InvalidInput):
    """Settings that are valid each by itself and yet no good, for the sake of one change."""

    def __init__(self, change: Change, why: str) -> None:
        super().__init__(
            f"{change.told()}: {why}.",
            reason="BAD_CONFIG",
            fix="Correct it: the file is read again once it has changed.",
        )
        self.change = change


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
    one, other = _said(before), _said(after)
    differing = [name for name in ProxySettings.model_fields if one[name] != other[name]]
    live = [name for name in differing if is_live(ProxySettings.model_fields[name])]
    return Comparison(
        before.model_copy(update={name: getattr(after, name) for name in live}),
        tuple(change for name in live for change in _changes(before, found, name)),
        tuple(change for name in differing if name not in live for change in _changes(before, found, name)),
    )


def _said(settings: ProxySettings) -> Mapping[str, Any]:
    """Each field's value; of settings inside it what was said only, for that is laid over what holds elsewhere."""
    return {name: getattr(settings, name) for name in ProxySettings.model_fields} | settings.model_dump(
        exclude_unset=True
    )


def _changes(before: ProxySettings, found: Loaded[ProxySettings], name: str) -> Iterator[Change]:
    one, other = _said(before)[name], _said(found.value)[name]
    if not isinstance(one, Mapping):
        yield Change((name,), found.where(name))
        return
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            yield Change((name, key), found.where(name, key))


def mixed(before: ProxySettings, after: ProxySettings, changes: Iterable[Change]) -> ProxySettings:
    """The settings of before with some of the changes that lead to those of after."""
    values: dict[str, object] = {}
    for name, *rest in (change.keys for change in changes):
        wanted = getattr(after, name)
        if not rest:
            values[name] = wanted
            continue
        mapping = dict(cast("Mapping[str, object]", values.get(name, getattr(before, name))))
        mapping.pop(rest[0], None)
        values[name] = mapping | {key: value for key, value in wanted.items() if key == rest[0]}
    return before.model_copy(update=values)


def _placeless(settings: ProxySettings) -> Loaded[ProxySettings]:
    return Loaded(settings, dict.fromkeys(ProxySettings.model_fields, "default"), {})


def _listed(changes: tuple[Change, ...]) -> str:
    return ", ".join(map(str, changes))


class Reloader:
    """Keeps the settings in force, and hands those that prove good to ``put``, with ``orders`` laid over them.

    ``rehearse`` tries changed settings, which differ from its first argument as the second says. It raises
    :class:`Refused` when they are no good, and :class:`Unavailable` when they could not be tried. ``keep`` keeps
    the settings in force on disk.
    """

    def __init__(
        self,
        handed: HandOver,
        events: EventLog,
        *,
        rehearse: Callable[[ProxySettings, Comparison], Awaitable[None]],
        put: Callable[[ProxySettings], None],
        keep: Callable[[HandOver], None],
        env: Mapping[str, str] | None = None,
        orders: Book = EMPTY,
    ) -> None:
        self._handed = handed
        self._orders = orders
        self._changing = asyncio.Lock()
        self._events = events
        self._rehearse = rehearse
        self._put = put
        self._keep = keep
        self._env = os.environ if env is None else env
        # What the file held when it was read last; None before that.
        self._read: watched_file.Look | None = None

    async def begin(self, proven: ProxySettings) -> list[Key]:
        """Try the settings handed over, if they differ in what can change from those that proved good last. What does
        harm stays as it was then, and everything else is in force, below the orders that fit; the others are returned.
        """
        async with self._changing:
            handed = self._handed.settings
            base = handed.model_copy(
                update={name: getattr(proven, name) for name, one in ProxySettings.model_fields.items() if is_live(one)}
            )
            seen = await self._look()
            found = await asyncio.to_thread(self._found, handed)
            if found is not None:
                # What the file says is what was handed over: it is not read again before it changes.
                self._read = seen
            placed = found or _placeless(handed)
            dropped = self._drop(laid(placed, self._orders).misfits)
            before, after = self._over(base), laid(placed, self._orders).settings
            changed = compare(before, after).changed
            chosen = handed
            while changed:
                try:
                    await self._rehearse(before, Comparison(self._over(chosen), changed, ()))
                except Refused as error:
                    changed = tuple(each for each in changed if each != error.change)
                    chosen = mixed(base, handed, changed)
                    if handed.authenticates and not chosen.authenticates:
                        # Better a data plane that refuses its configuration than a port that asks nobody who he is.
                        chosen = handed
                        self._refuse(error, "it is in force all the same: without it the port would ask nobody")
                        break
                    self._refuse(error, "this setting stays as it was, all others are in force")
                except InfernoError as error:
                    _LOG.error("settings not tried", reason=error.sentence(), effect="they are in force all the same")
                    break
                else:
                    await self._in_force(chosen)
                    break
            else:
                if chosen is not handed:
                    await self._in_force(chosen)
            in_force = self._over(chosen)
            if in_force != handed:
                self._put(in_force)
            return dropped

    def _drop(self, misfits: Sequence[tuple[Order, str]]) -> list[Key]:
        """Leave out the orders that contradict the settings this life begins with."""
        for order, why in misfits:
            self._events.add("ORDER_DROPPED", order.subject, f"It no longer fits that {order.sentence()}: {why}.")
        dropped = [order.key for order, _ in misfits]
        self._orders = without(self._orders, dropped)
        return dropped

    async def run(self, hangups: Latest[int]) -> None:
        """Read the settings again at each hangup, until cancelled."""
        async for count in hangups.watch():
            if count:
                await self.again()

    async def follow(self, clock: Clock) -> None:
        """Read the settings again whenever the file has come to hold something else than when it was read last.

        Runs until cancelled; returns at once when there is no file.
        """
        if self._handed.origin.file is None:
            return
        async for seen in watched_file.contents(self._handed.origin.file, clock):
            if seen != self._read:
                await self.again()

    async def again(self) -> None:
        """Read the settings; put them in force, or say why not."""
        async with self._changing:
            self._read = await self._look()
            before = self._handed.settings
            try:
                found = await asyncio.to_thread(self._handed.origin.read, self._env)
                comparison = compare(before, found)
                comparison.settings.refuse_exposure()
                over = compare(self._over(before), laid(found, self._orders).whole())
                if over.changed:
                    await self._rehearse(self._over(before), over)
                    self._put(over.settings)
            except InfernoError as error:
                self._refuse(error)
                return
            if comparison.changed:
                await self._in_force(comparison.settings)
            self._events.add("CONFIG_RELOADED", self._subject, comparison.sentence() + self._above(comparison))

    async def _look(self) -> watched_file.Look | None:
        file = self._handed.origin.file
        return None if file is None else await asyncio.to_thread(watched_file.look, file)

    async def order(self, change: Callable[[Book], Book], commit: Callable[[], None]) -> None:
        """Lay other orders over the settings: what ``change`` makes of those that hold is tried, and is in force once
        ``commit`` has returned. Whoever is cancelled has changed everything or nothing.

        Raises:
            InvalidInput: With them, the settings are no good.
            Unavailable: They could not be tried.
        """
        async with self._changing:
            orders = change(self._orders)
            base = await asyncio.to_thread(self._placed, self._handed.settings)
            before = self._over(self._handed.settings)
            comparison = compare(before, laid(base, orders).whole())
            try:
                if comparison.changed:
                    await self._rehearse(before, comparison)
            except Refused as error:
                fix = "Order something else; what was in force before still is."
                raise InvalidInput(error.message, reason="ORDER_REFUSED", fix=fix) from error
            commit()
            self._orders = orders
            if comparison.changed:
                self._put(comparison.settings)

    def where(self, model: str) -> str:
        """Where the settings of a model stand that are in force; ``default`` where nothing says so."""
        return laid(self._placed(self._handed.settings), self._orders).settings.where("models", model)

    def _over(self, settings: ProxySettings) -> ProxySettings:
        """The settings with the orders laid over them that fit."""
        return laid(Loaded(settings, {}, {}), self._orders).settings.value

    def _above(self, comparison: Comparison) -> str:
        """What else to say of changes that an order stands over."""
        changed = {each.keys[1] for each in comparison.changed if each.keys[0] == "models"}
        standing = [
            f"{order.subject}: {order.sentence()}" for order in patches(self._orders) if order.subject in changed
        ]
        return f" Orders stay above them: {'; '.join(standing)}." if standing else ""

    @property
    def _subject(self) -> str:
        return str(self._handed.origin.file or "the environment")

    def _placed(self, handed: ProxySettings) -> Loaded[ProxySettings]:
        """The settings handed over with the places they come from, as far as their origin still says the same."""
        return self._found(handed) or _placeless(handed)

    def _found(self, handed: ProxySettings) -> Loaded[ProxySettings] | None:
        """What the origin says, if that is what was handed over."""
        try:
            found = self._handed.origin.read(self._env)
        except InfernoError:
            return None
        return found if found.value == handed else None

    def _refuse(self, error: InfernoError, effect: str = "those of before stay in force") -> None:
        self._events.healed(
            "CONFIG_REFUSED",
            self._subject,
            cause="The settings that were read are no good",
            evidence=error.sentence().rstrip("."),
            effect=effect,
        )

    async def _in_force(self, settings: ProxySettings) -> None:
        self._handed = replace(self._handed, settings=settings)
        try:
            await asyncio.to_thread(self._keep, self._handed)
        except OSError as error:
            _LOG.error("settings not kept", reason=error.strerror, effect="a restart begins with those of before")
