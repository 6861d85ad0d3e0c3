"""Envoy's log lines as ours."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from inferno_runtime import logs

# The format we ask Envoy for: level, logger, message.
FORMAT = "%l|%n|%v"

_LINE = re.compile(r"(trace|debug|info|warning|error|critical|off)\|([\w.-]+)\|(.*)")
# Warnings that say nothing to an operator: signals and takeovers that we cause ourselves.
_HARMLESS = (
    "caught ENVOY_SIGTERM",
    "gRPC config stream",  # the control plane is away: its own supervisor says so
    "Usage of the deprecated runtime key",
)
# What a caller did wrong and is told (413): callers must not be able to fill our log.
_ANSWERED = ("content length exceeds maximum", "request size exceeds maximum")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: ``level`` as structlog names it."""

    level: str
    logger: str
    text: str


def parse(raw: str) -> Line | None:
    """What a line says; None for one that only confirms what we did ourselves, or what a caller is told.

    A line in another form (a crash's back trace, an error before logging starts) is an error.

    >>> parse("warning|config|something odd")
    Line(level='warning', logger='config', text='something odd')
    >>> parse("warning|main|caught ENVOY_SIGTERM") is None
    True
    >>> parse("error|http|content length exceeds maximum (2000 > 1000), client: 10.0.0.1:5, target: /x") is None
    True
    >>> parse("unable to bind domain socket").level
    'error'
    """
    text = raw.rstrip()
    match = _LINE.fullmatch(text)
    if match is None:
        return Line("error", "stderr", text) if text else None
    level, logger, message = match.groups()
    if message.startswith(_ANSWERED):
        return None
    if level in ("warning", "info", "debug", "trace") and any(part in message for part in _HARMLESS):
        return None
    return Line({"trace": "debug", "off": "info"}.get(level, level), logger, message)


async def follow(stream: asyncio.StreamReader, pid: int) -> str:
    """Log every line until the stream ends; the last error, for whoever explains why Envoy ended."""
    log = logs.get("envoy")
    last_error = ""
    while raw := await stream.readline():
        line = parse(raw.decode(errors="replace"))
        if line is None:
            continue
        if line.level in ("error", "critical"):
            last_error = line.text
        getattr(log, line.level)(line.text, logger=line.logger, pid=pid)
    return last_error
