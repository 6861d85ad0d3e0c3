from __future__ import annotations

import hashlib

from inferno_proxy.resources import call_filter
from tools.build_call_filter import PARTS


def test_the_committed_module_was_built_from_the_committed_source() -> None:
    source = hashlib.sha256(b"".join(part.read_bytes() for part in PARTS)).digest()
    assert call_filter.module().endswith(b"source-sha256" + source), "run: python tools/build_call_filter.py"


def test_the_module_fits_into_a_listener_without_notice() -> None:
    assert len(call_filter.module()) < 16 * 1024
