"""Calls of late, by the name their callers gave them, and what became of each of their tries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from inferno_proxy.feedback.observed import Outcome, Try

_MOST_CALLS = 4096
_MOST_TRIES = 20

# How Envoy's flags read (envoy/data/accesslog/v3/accesslog.proto). Some of them stand beside an answer.
_FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "upstream_request_timeout": "its time was over, and the call went on at another node",
        "local_reset": "Envoy reset the stream itself",
        "upstream_remote_reset": "the node reset the stream",
        "upstream_connection_failure": "no connection could be made",
        "upstream_connection_termination": "the connection broke",
        "upstream_overflow": "as many calls were under way as may be",
        "stream_idle_timeout": "nothing moved for too long",
        "upstream_max_stream_duration_reached": "it took longer than calls of the model may",
        "duration_timeout": "it took longer than calls may",
        "upstream_protocol_error": "the node broke the protocol",
    }
)
_OUTCOMES: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.ANSWERED: "The node answered",
        Outcome.FAILED: "The node answered with an error of its own",
        Outcome.REFUSED: "It never ran there",
        Outcome.RESET: "It broke off",
        Outcome.CANCELLED: "It was no longer wanted: the caller had gone, or another try had answered",
        Outcome.TIMED_OUT: "A limit of time ended it",
    }
)


def meaning(seen: Try) -> str:
    """How a try ended, in a sentence.

    >>> from inferno_proxy.fleet import Address
    >>> one = Try("m", Address("10.0.0.1", 1), Outcome.RESET, 0.1, 0.0, flag="upstream_connection_termination")
    >>> meaning(one)
    'It broke off: the connection broke.'
    """
    status = f" ({seen.status})" if seen.status else ""
    told = seen.outcome is not Outcome.ANSWERED and _FLAGS.get(seen.flag, "")
    return f"{_OUTCOMES[seen.outcome]}{status}{': ' + told if told else ''}."


class RecentTries:
    """The tries of the last calls that have a name, in two shelves, so that the many of the fair sample do not push out
    the few that failed or asked to be kept."""

    def __init__(self, most: int = _MOST_CALLS) -> None:
        self._most = most
        self._sample: OrderedDict[str, list[Try]] = OrderedDict()
        self._kept: OrderedDict[str, list[Try]] = OrderedDict()

    def sampled(self, tries: Iterable[Try]) -> None:
        """Take tries of the fair sample in."""
        self._take(self._sample, tries)

    def kept(self, tries: Iterable[Try]) -> None:
        """Take tries in that failed, or whose call asked for it."""
        self._take(self._kept, tries)

    def of(self, request_id: str) -> tuple[Try, ...]:
        """The tries of a call in their order; none when they were not kept, or too long ago."""
        found: dict[Try, Try] = {}
        for seen in (*self._kept.get(request_id, ()), *self._sample.get(request_id, ())):
            # One try may be in several logs, read at different moments.
            found.setdefault(replace(seen, at=0.0), seen)
        return tuple(sorted(found.values(), key=lambda seen: (seen.attempt, seen.at)))

    def _take(self, shelf: OrderedDict[str, list[Try]], tries: Iterable[Try]) -> None:
        for seen in tries:
            if not seen.request_id:
                continue
            known = shelf.setdefault(seen.request_id, [])
            if len(known) < _MOST_TRIES:
                known.append(seen)
            if len(shelf) > self._most:
                shelf.popitem(last=False)
