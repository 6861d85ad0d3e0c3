from __future__ import annotations

import asyncio

import pytest

from inferno_proxy.envoy.journal import Line, follow, parse


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ("warning|config|something odd\n", Line("warning", "config", "something odd")),
        ("trace|http2|frame", Line("debug", "http2", "frame")),
        ("critical|main|a | b", Line("critical", "main", "a | b")),
        ("Caught Segmentation fault, suspect faulting address 0x0", None),
        ("warning|main|caught ENVOY_SIGTERM", Line("", "", "")),
        ("\n", Line("", "", "")),
    ],
)
def test_a_line_keeps_its_level_unless_it_is_noise(raw: str, line: Line | None) -> None:
    noise = Line("", "", "")
    assert parse(raw) == (None if line == noise else line or Line("error", "stderr", raw))


async def test_the_last_error_is_remembered_for_whoever_explains_the_end() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"info|main|starting\nerror|config|bad file\ncritical|main|giving up\nwarning|main|bye\n\n")
    stream.feed_eof()
    assert await follow(stream, 1) == "giving up"
