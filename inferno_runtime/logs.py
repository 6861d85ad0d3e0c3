"""Structured logs to standard error: lines for people on a terminal, JSON for collectors."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Literal, TextIO, cast

import structlog

Format = Literal["console", "json"]

# Values under these keys never reach a log.
_SECRET = ("token", "password", "secret", "authorization", "api_key", "private_key")


def _redact(_: object, __: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    for key in event:
        if any(part in key.lower() for part in _SECRET):
            event[key] = "[redacted]"
    return event


class _Lines:
    """Standard error that nobody may have to read: what cannot be written is lost, and the process goes on.

    A reader of the pipe that has ended or a full disk must not end what serves, and there is no other place to tell it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure(format: Format, level: str = "info") -> None:  # noqa: A002 - the option's own name
    """Set up logging for this process; ``level`` is debug, info, warning or error."""
    # Tracebacks stay plain: a pretty one prints local variables, and with them secrets.
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if format == "json"
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            structlog.processors.StackInfoRenderer(),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Lines(sys.stderr))),
    )


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry ``component=name``."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(component=name))
