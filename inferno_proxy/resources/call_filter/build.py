"""Builds call_filter.wasm from call_filter.c with the pinned compiler (``ziglang``, which carries clang and lld).

``python build.py`` writes the module; ``python build.py --check`` fails when the committed module differs from what
the source gives. The compiler is large and only needed here, so it is not part of the development lock.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "call_filter.c"
PARTS = (SOURCE, HERE / "inflate.h")
MODULE = HERE / "call_filter.wasm"
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
    sys.stderr.write(f"{MODULE.name} is not what {SOURCE.name} gives; run: python {Path(__file__).name}\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
