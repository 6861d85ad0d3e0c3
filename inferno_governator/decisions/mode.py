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
        self._mode: Mode | None = None

    async def mode(self) -> Mode:
        """The mode.

        Raises:
            Unavailable: The store cannot be used now.
        """
        if self._mode is None:
            newest = await self._book.entries(kinds=[Kind.MODE], limit=1)
            said = json.loads(newest[0].content) if newest else {}
            if said.get("setting") == self._setting.value:
                self._mode = Mode(said["mode"])
            else:
                self._mode = await self._write(self._setting, "the settings", "")
        return self._mode

    async def set(self, mode: Mode, by: str, reason: str) -> None:
        """Have another mode, also after a restart.

        Raises:
            Unavailable: It is not stored; what held goes on.
        """
        self._mode = await self._write(mode, by, reason)

    async def _write(self, mode: Mode, by: str, reason: str) -> Mode:
        content = {"mode": mode.value, "setting": self._setting.value, "reason": reason}
        await self._book.note(Draft(Kind.MODE, content, by=by))
        return mode
