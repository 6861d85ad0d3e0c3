"""How often configuration was sent, how it was answered, and how long that took: by type of resource."""

from __future__ import annotations

from collections import Counter, defaultdict

from inferno_proxy.metrics.durations import WORK, Durations
from inferno_proxy.publishing.snapshot import Dialect

# A stream may ask for types that do not exist, under any name.
_OTHER = "other"


class Tally:
    """Counts of the answers on all streams, by the client's dialect and the type's short name (``cds``, ``eds``...)."""

    def __init__(self) -> None:
        self.sent: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.took: defaultdict[str, Durations] = defaultdict(lambda: Durations(WORK))

    def pushed(self, dialect: Dialect, short: str | None) -> None:
        """An answer is on its way."""
        self.sent[dialect.value, short or _OTHER] += 1

    def answered(self, dialect: Dialect, short: str | None, seconds: float, *, refused: bool) -> None:
        """The client has said what it thinks of it, so many seconds later."""
        self.refused[dialect.value, short or _OTHER] += refused
        self.took[short or _OTHER].add(seconds)
