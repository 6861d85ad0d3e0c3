"""One telemetry stream: what it has handed in, what is committed of it, and how it ends."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from inferno_governator.usage import Batch, StreamKey
from inferno_runtime.errors import InfernoError

# Batches a stream may have unacknowledged; then we stop reading and HTTP/2 flow control holds the sender.
WINDOW = 64


class Acknowledgement(NamedTuple):
    """The last sequence that is committed, and how many samples were left out of what is newly acknowledged;
    ``refusal`` says what was wrong with the first of them."""

    sequence: int
    refused_samples: int = 0
    refusal: str = ""


class TelemetryStream:
    """State shared by the reader of a stream, the writer of acknowledgements and the intake, on one event loop.

    Commits come back in the order of submission. After the first refusal nothing more of this stream is stored: a later
    batch must not be stored before an earlier one, or the earlier one would count as a duplicate when it comes again.
    """

    def __init__(self) -> None:
        self._pending = 0
        self._acknowledgements: dict[StreamKey, Acknowledgement] = {}
        self._error: InfernoError | None = None
        self._broken = False
        self._ended = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def broken(self) -> bool:
        """True once a batch that was handed in was refused."""
        return self._broken

    async def room(self) -> None:
        """Return when another batch may be handed in: never, once the stream is to end with an error."""
        await self._room.wait()

    def submitted(self) -> None:
        """A batch was handed in."""
        self._pending += 1
        if self._pending >= WINDOW:
            self._room.clear()

    def committed(self, batch: Batch) -> None:
        """A batch is on disk."""
        news = self._acknowledgements.get(batch.stream, Acknowledgement(0))
        self._acknowledgements[batch.stream] = Acknowledgement(
            max(batch.sequence, news.sequence),
            news.refused_samples + sum(batch.refused.values()),
            news.refusal or batch.refusal,
        )
        self._settled()

    def refused(self, error: InfernoError) -> None:
        """A batch that was handed in is not stored: end the stream with this error."""
        self._broken = True
        self.fail(error)
        self._settled()

    def discarded(self) -> None:
        """A batch handed in after a refused one is not stored either."""
        self._settled()

    def fail(self, error: InfernoError) -> None:
        """End the stream with this error, after what is handed in has been settled; the first error counts."""
        self._error = self._error or error
        self._room.clear()
        self._changed.set()

    def end(self) -> None:
        """Nothing more will be handed in."""
        self._ended = True
        self._changed.set()

    async def acknowledgements(self) -> dict[StreamKey, Acknowledgement] | None:
        """Wait for news of each stream key, or None when the stream is over.

        Raises:
            InfernoError: Everything handed in is settled and the stream ends with this error.
        """
        while True:
            if self._acknowledgements:
                news, self._acknowledgements = self._acknowledgements, {}
                return news
            if not self._pending:
                if self._error is not None:
                    raise self._error
                if self._ended:
                    return None
            self._changed.clear()
            await self._changed.wait()

    def _settled(self) -> None:
        self._pending -= 1
        if self._error is None:
            self._room.set()
        self._changed.set()
