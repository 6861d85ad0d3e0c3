"""What the governator may do with its decisions; kept in the ledger, so that a restart changes nothing."""

from __future__ import annotations

import json
from enum import Enum

from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.entry import Draft, Kind


class Mode(Enum):
    """From the most careful on."""

    # It records what it would do.
    OBSERVE = "observe"
    # It proposes; what a person approves is done.
    ADVISE = "advise"
    # It does what it decides, in pools that act; in others it rehearses.
    ACT = "act"


class ModeKeeper:
    """The mode that holds: the one that was set last, by a call or by a change of the settings file."""

    def __init__(self, book: DecisionBook, setting: Mode) -> None:
        self._book = book
        self._setting = setting
        self._begun = False

    async def mode(self) -> Mode:
        """The mode.

        Raises:
            Unavailable: The store cannot be used now.
        """
        newest = await self._book.entries(kinds=[Kind.MODE], limit=1)
        said = json.loads(newest[0].content) if newest else {}
        # Another governator of the database may have set it since, so it is read each time.
        if newest and (self._begun or said["setting"] == self._setting.value):
            self._begun = True
            return Mode(said["mode"])
        self._begun = True
        return await self._write(self._setting, "the settings", "")

    async def set(self, mode: Mode, by: str, reason: str) -> None:
        """Have another mode, also after a restart.

        Raises:
            Unavailable: It is not stored; what held goes on.
        """
        await self._write(mode, by, reason)
        self._begun = True

    async def _write(self, mode: Mode, by: str, reason: str) -> Mode:
        content = {"mode": mode.value, "setting": self._setting.value, "reason": reason}
        await self._book.note(Draft(Kind.MODE, content, by=by))
        return mode
