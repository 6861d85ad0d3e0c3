"""Builds Envoy's call filter: inferno_proxy/resources/call_filter/*.{c,h} into call_filter.wasm.

``python tools/build_call_filter.py`` writes the module; with ``--check`` it fails when the committed one differs from
what the source gives. It needs the compiler in ``ziglang==0.17.1`` (clang and lld, 410 MB unpacked), which nothing else
needs: so it is not part of the development lock, and a unit test compares the source's hash, which the module carries.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "inferno_proxy" / "resources" / "call_filter"
SOURCE = FOLDER / "call_filter.c"
PARTS = (SOURCE, FOLDER / "inflate.h", FOLDER / "alias.h", FOLDER / "fingerprint.h")
MODULE = FOLDER / "call_filter.wasm"
FLAGS = (
    "-target",
    "wasm32-freestanding",
    "-std=c11",
    "-Os",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-nostdlib",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
)


def compile_module(target: Path) -> None:
    """Compile the source to ``target`` and append the hash of its parts, as a custom section."""
    subprocess.run([sys.executable, "-m", "ziglang", "cc", *FLAGS, str(SOURCE), "-o", str(target)], check=True)
    name, digest = b"source-sha256", hashlib.sha256(b"".join(part.read_bytes() for part in PARTS)).digest()
    body = bytes([len(name)]) + name + digest
    target.write_bytes(target.read_bytes() + b"\0" + bytes([len(body)]) + body)


def main() -> int:
    """Build, or check."""
    if "--check" not in sys.argv[1:]:
        compile_module(MODULE)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / MODULE.name
        compile_module(fresh)
        if fresh.read_bytes() == MODULE.read_bytes():
            return 0
    sys.stderr.write(f"{MODULE.name} is not what {SOURCE.name} gives; run: python tools/{Path(__file__).name}\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
