"""One receiver of alerts: told what it does not know yet, again and again with growing pauses while it is away.

What it was told is in the store, and what it must be told follows from the alerts there. So nothing piles up while it
is away, and a restart neither loses a message nor repeats one; only a governator that dies between a receiver's answer
and the note of it says that one message twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from inferno_governator.alerts import messages
from inferno_governator.alerts.alert import Alert, Told
from inferno_governator.alerts.judging import untold
from inferno_governator.alerts.settings import ReceiverSettings
from inferno_governator.store.store import Store
from inferno_runtime import logs
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, Unavailable
from inferno_runtime.secret_url import hidden

_LOG = logs.get("alerts")
_LONGEST_PAUSE = 300.0
_LAST_SECONDS = 1.0
# Alertmanager forgets what is not posted again.
_AGAIN_SECONDS = 60.0


async def _settled(telling: asyncio.Future[int]) -> None:
    """Wait for it; when asked to end meanwhile, a moment longer, so that what is being told is noted."""
    try:
        await asyncio.shield(telling)
    except asyncio.CancelledError:
        with contextlib.suppress(InfernoError, TimeoutError):
            await asyncio.wait_for(telling, _LAST_SECONDS)
        raise


class Receiver:
    """A receiver by its name in the settings."""

    def __init__(self, name: str, settings: ReceiverSettings, store: Store, clock: Clock) -> None:
        self.name = name
        self._settings = settings
        self._store = store
        self._clock = clock
        self._posted = -_AGAIN_SECONDS

    async def run(self) -> None:
        """Tell, for ever."""
        every = self._settings.every_seconds
        backoff = Backoff(every, max(every, _LONGEST_PAUSE))
        while True:
            try:
                # Outside a group, which would cut it off: it is waited for below.
                await _settled(asyncio.ensure_future(self.tell()))  # noqa: TID251
            except InfernoError as error:
                if not error.temporary:
                    raise
                pause = backoff.next()
                _LOG.warning("a receiver is not told now", receiver=self.name, error=str(error), again_seconds=pause)
                await self._clock.sleep(pause)
            else:
                backoff.reset()
                await self._clock.sleep(every)

    async def tell(self) -> int:
        """Tell it what it does not know; returns how many alerts that were.

        Raises:
            Unavailable: It did not take them, or the store cannot be used now.
        """
        now = int(self._clock.wall() * 1_000_000)
        alerts = await self._store.alerts()
        told = await self._store.told(self.name)
        due = untold(alerts, told, self._settings.severity, self._settings.kinds, now)
        again = [] if self._settings.kind == "webhook" else self._known(alerts, told, due, now)
        if due or again:
            await self._post(self._message([*due, *again], now))
            await self._store.note_told(self.name, due)
        return len(due)

    def _known(
        self, alerts: Sequence[Alert], told: dict[tuple[str, int], Told], due: list[Alert], now: int
    ) -> list[Alert]:
        """What lasts and an Alertmanager would forget."""
        if due or self._clock.monotonic() - self._posted >= _AGAIN_SECONDS:
            self._posted = self._clock.monotonic()
            fresh = {each.key for each in due}
            return [
                each
                for each in alerts
                if each.end_micros is None
                and each.key in told
                and each.key not in fresh
                and now >= each.silenced_until_micros
            ]
        return []

    def _message(self, alerts: list[Alert], now: int) -> Any:
        if self._settings.kind == "webhook":
            return messages.webhook(alerts)
        return messages.alertmanager(alerts, now, max(_AGAIN_SECONDS, self._settings.every_seconds))

    async def _post(self, message: Any) -> None:
        import aiohttp

        given = self._settings.url.get_secret_value()
        url = given.rstrip("/") + "/api/v2/alerts" if self._settings.kind == "alertmanager" else given
        headers = {name: value.get_secret_value() for name, value in self._settings.headers.items()}
        limit = aiohttp.ClientTimeout(total=self._settings.timeout_seconds)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.post(url, json=message, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status // 100 != 2:
                    # Before it is cut: half of a secret would not be known for one.
                    text = hidden(await answer.text(errors="replace"), given)[:200]
                    raise self._away(f"it answers {answer.status} {text!r}")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # A header that cannot be sent is a ValueError.
            # Without its cause, whose text may hold the address.
            raise self._away(f"{type(error).__name__} {error}".strip()) from None

    def _away(self, why: str) -> Unavailable:
        said = hidden(why, self._settings.url.get_secret_value())
        return Unavailable(
            f"The receiver {self.name!r} does not take alerts: {said}.",
            reason="RECEIVER_UNAVAILABLE",
            fix=f"Check governator.alerts.{self.name}, and whether it runs.",
        )
