"""Builds Envoy's filters: the C sources below inferno_proxy/resources into WebAssembly modules beside them.

``python tools/build_filters.py`` writes the modules; with ``--check`` it fails when a committed one differs from what
the source gives. It needs the compiler in ``ziglang==0.17.1`` (clang and lld, 410 MB unpacked), which nothing else
needs: so it is not part of the development lock, and a unit test compares the source's hash, which the module carries.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_RESOURCES = Path(__file__).parents[1] / "inferno_proxy" / "resources"
_CALLS, _ACCESS = _RESOURCES / "call_filter", _RESOURCES / "access_filter"
_ABI, _STREAMS = (_RESOURCES / "proxy_wasm" / name for name in ("abi.h", "streams.h"))
# Each module's source, and what that includes.
MODULES: Mapping[Path, Sequence[Path]] = {
    _CALLS / "call_filter.c": (_ABI, _STREAMS, _CALLS / "inflate.h", _CALLS / "alias.h", _CALLS / "fingerprint.h"),
    _ACCESS / "budgets.c": (_ABI, _ACCESS / "host_metadata.h"),
    _ACCESS / "callers.c": (_ABI, _ACCESS / "host_metadata.h", _ACCESS / "sha256.h"),
    _ACCESS / "names.c": (_ABI, _STREAMS),
}
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


def module_of(source: Path) -> Path:
    """Where a source's module lies."""
    return source.with_suffix(".wasm")


def digest(source: Path) -> bytes:
    """The SHA-256 of a source and its parts."""
    return hashlib.sha256(b"".join(part.read_bytes() for part in (source, *MODULES[source]))).digest()


def compile_module(source: Path, target: Path) -> None:
    """Compile a source to ``target`` and append the hash of its parts, as a custom section."""
    subprocess.run([sys.executable, "-m", "ziglang", "cc", *FLAGS, str(source), "-o", str(target)], check=True)
    name, value = b"source-sha256", digest(source)
    body = bytes([len(name)]) + name + value
    target.write_bytes(target.read_bytes() + b"\0" + bytes([len(body)]) + body)
    target.chmod(0o644)


def main() -> int:
    """Build, or check."""
    if "--check" not in sys.argv[1:]:
        for source in MODULES:
            compile_module(source, module_of(source))
        return 0
    stale = []
    with tempfile.TemporaryDirectory() as scratch:
        for source in MODULES:
            fresh = Path(scratch) / module_of(source).name
            compile_module(source, fresh)
            if fresh.read_bytes() != module_of(source).read_bytes():
                stale.append(module_of(source).name)
    for name in stale:
        sys.stderr.write(f"{name} is not what its source gives; run: python tools/{Path(__file__).name}\n")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
