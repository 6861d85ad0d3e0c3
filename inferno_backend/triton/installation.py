"""Where tritonserver is, and what its Python backend needs from this environment."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inferno_backend.triton import stream_gauge
from inferno_runtime.errors import InvalidInput, NotFound

# NVIDIA's containers install it here and put it on no PATH.
_CONTAINER = Path("/opt/tritonserver/bin/tritonserver")
_SYSTEM_LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")


@dataclass(frozen=True, slots=True)
class Installation:
    """A Triton that can be started.

    ``wheel`` is the folder of the nvidia-pytriton wheel's server, and None for a complete installation that brings its
    own backends and libraries. ``cache_bytes`` is how large its response cache is to be; 0 is none.
    """

    binary: Path
    wheel: Path | None = None
    cache_bytes: int = 0

    @property
    def libraries(self) -> tuple[Path, ...]:
        """Folders for LD_LIBRARY_PATH: the wheel's own libraries and libpython, which its stub is linked with."""
        if self.wheel is None:
            return ()
        return (self.wheel.parent.parent / "nvidia_pytriton.libs", _libpython())

    @property
    def caches(self) -> Path | None:
        """The folder of the wheel's response caches; None where Triton finds them by itself."""
        return self.wheel / "caches" if self.wheel else None

    @property
    def python(self) -> Path | None:
        """The folder that must be first on PATH: the stub takes the ``python3`` it finds there, and its packages."""
        return Path(sys.executable).parent if self.wheel else None


def find(wanted: Path | None, path: str, *, container: Path = _CONTAINER, package: str = "pytriton") -> Installation:
    """Find a tritonserver: the wanted one, one on PATH, the container's, or the nvidia-pytriton wheel's.

    Args:
        wanted: The setting; None when not given.
        path: The environment's PATH.
        container: Where a container would have it.
        package: The package of the wheel.

    Raises:
        NotFound: There is none, or the wanted one is no program.
        InvalidInput: This environment breaks the wheel's Python backend.
    """
    if wanted is not None:
        program = shutil.which(str(wanted), path=path)
        if program is None:
            raise NotFound(
                f"{wanted} is not a program that can be run.",
                reason="NO_TRITON",
                fix="Check --triton-binary, or leave it out to use the one in this environment.",
            )
        return Installation(Path(program))
    if on_path := shutil.which("tritonserver", path=path):
        return Installation(Path(on_path))
    if container.is_file():
        return Installation(container)
    # Looked for and not imported: importing it starts things.
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        wheel = Path(spec.origin).parent / "tritonserver"
        check_environment(wheel, installed_version("numpy"))
        return Installation(wheel / "bin" / "tritonserver", wheel)
    raise NotFound(
        "No tritonserver is installed.",
        reason="NO_TRITON",
        fix="Install nvidia-pytriton==0.7.0 into this environment, or give --triton-binary FILE.",
    )


def installed_version(package: str) -> str:
    """Version of a package in this environment, which is where Triton's Python stub imports from; empty: none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_environment(wheel: Path, numpy: str) -> None:
    """Find what would make models answer wrongly or not at all.

    Raises:
        InvalidInput: numpy is 2 or later or missing, this Python has no stub, or its shared library is missing.
    """
    if not numpy or int(numpy.partition(".")[0]) >= 2:
        found = f"numpy {numpy} is" if numpy else "no numpy is"
        effect = "every answer would hold empty tensors, without an error" if numpy else "no Python model can be loaded"
        raise InvalidInput(
            f"{found} installed here, and Triton's Python backend is built for numpy 1: {effect}.",
            reason="NUMPY_2" if numpy else "NO_NUMPY",
            fix="Run: python -m pip install 'numpy==1.26.4'",
            metadata={"numpy": numpy},
        )
    if not stub(wheel).is_file():
        raise InvalidInput(
            f"nvidia-pytriton has no Python stub for Python {python_version()}.",
            reason="NO_STUB",
            fix="Use Python 3.11 or 3.12.",
        )
    _libpython()


def python_version() -> str:
    """Like ``3.11``."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def stub(wheel: Path) -> Path:
    """The wheel's stub program for this Python."""
    return wheel / "python_backend_stubs" / python_version() / "triton_python_backend_stub"


def _libpython() -> Path:
    name = f"libpython{python_version()}.so.1.0"
    folders = [str(sysconfig.get_config_var("LIBDIR")), *_SYSTEM_LIBRARIES]
    return find_library(name, folders)


def find_library(name: str, folders: list[str]) -> Path:
    """The first folder that holds a library.

    Raises:
        InvalidInput: None does.
    """
    for folder in folders:
        if (Path(folder) / name).is_file():
            return Path(folder)
    raise InvalidInput(
        f"This Python comes without its shared library {name}, which Triton's Python backend is linked with.",
        reason="NO_LIBPYTHON",
        fix=f"Install it (Debian, Ubuntu: apt install libpython{python_version()}) or use a Python that has it.",
    )


def lay_out_backends(wheel: Path, destination: Path) -> Path:
    """Copy the wheel's backends to a place of our own with this Python's stub beside them; return that place.

    The wheel ships the stub apart from the backend, and the environment may be read-only or shared by two Pythons.
    """
    shutil.copytree(wheel / "backends", destination, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    target = destination / "python" / "triton_python_backend_stub"
    # A running stub's file cannot be written over (ETXTBSY), but its name can be given to another.
    fresh = target.with_suffix(".new")
    shutil.copy2(stub(wheel), fresh)
    fresh.replace(target)
    _follow_streams(destination / "python")
    return destination


def _follow_streams(backend: Path) -> None:
    """Have the copied Python backend show how its models' streams go on."""
    shutil.copyfile(stream_gauge.__file__, backend / f"{stream_gauge.MODULE}.py")
    with (backend / "triton_python_backend_utils.py").open("a", encoding="utf-8") as utilities:
        utilities.write(f"\n\nimport c_python_backend_utils\nimport {stream_gauge.MODULE}\n\n")
        utilities.write(f"{stream_gauge.MODULE}.install(c_python_backend_utils)\n")


def library_path(libraries: tuple[Path, ...], env: Mapping[str, str]) -> str:
    """LD_LIBRARY_PATH with ours first."""
    return ":".join([*map(str, libraries), *filter(None, [env.get("LD_LIBRARY_PATH", "")])])
