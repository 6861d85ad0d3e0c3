"""Finding a Triton, and what in an environment would break it unseen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from inferno_backend.triton.installation import (
    Installation,
    check_environment,
    find,
    find_library,
    installed_version,
    lay_out_backends,
    library_path,
)
from inferno_runtime.errors import InvalidInput, NotFound


def program(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_wanted_program_wins(tmp_path: Path) -> None:
    wanted, other = program(tmp_path / "mine"), tmp_path / "bin"
    other.mkdir()
    program(other / "tritonserver")
    assert find(wanted, str(other)) == Installation(wanted)
    assert find(None, str(other)) == Installation(other / "tritonserver")


def test_a_wanted_program_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not a program"):
        find(tmp_path / "nothing", "")


def test_the_wheels_triton_is_found_with_what_it_needs() -> None:
    found = find(None, "")
    assert found.wheel is not None
    assert found.binary.is_file()
    assert found.python == Path(sys.executable).parent
    wheel_libraries, python_library = found.libraries
    assert any(wheel_libraries.glob("libtritonserver*"))
    assert any(python_library.glob("libpython3*.so*"))


def test_a_complete_installation_needs_nothing_of_ours() -> None:
    found = Installation(Path("/opt/tritonserver/bin/tritonserver"))
    assert found.libraries == ()
    assert found.python is None


@pytest.mark.parametrize(
    ("numpy", "reason", "pattern"),
    [("2.1.0", "NUMPY_2", "numpy 2.1.0 is installed here.*empty tensors"), ("", "NO_NUMPY", "no numpy is installed")],
)
def test_a_numpy_that_falsifies_answers_is_refused_with_why_and_fix(numpy: str, reason: str, pattern: str) -> None:
    wheel = find(None, "").wheel
    assert wheel is not None
    with pytest.raises(InvalidInput, match=pattern) as refused:
        check_environment(wheel, numpy)
    assert refused.value.reason == reason
    assert "numpy==1.26.4" in refused.value.fix


def test_the_installed_numpy_is_seen() -> None:
    assert installed_version("numpy").startswith("1.")
    assert not installed_version("no-such-package")


def test_a_containers_triton_is_found_without_a_path(tmp_path: Path) -> None:
    container = program(tmp_path / "tritonserver")
    assert find(None, "", container=container) == Installation(container)


def test_no_triton_at_all_is_said_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No tritonserver is installed") as refused:
        find(None, "", container=tmp_path / "nothing", package="no_such_package")
    assert "nvidia-pytriton" in refused.value.fix


def test_a_python_without_a_stub_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no Python stub"):
        check_environment(tmp_path, "1.26.4")


def test_a_python_without_its_shared_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"libpython3\.99\.so"):
        find_library("libpython3.99.so", [str(tmp_path)])


def test_backends_are_laid_out_with_this_pythons_stub_again_and_again(tmp_path: Path) -> None:
    wheel = find(None, "").wheel
    assert wheel is not None
    for _ in range(2):
        lay_out_backends(wheel, tmp_path / "backends")
    stub = tmp_path / "backends" / "python" / "triton_python_backend_stub"
    assert stub.stat().st_mode & 0o111
    assert (tmp_path / "backends" / "python" / "libtriton_python.so").is_file()
    utilities = (tmp_path / "backends" / "python" / "triton_python_backend_utils.py").read_text()
    assert utilities.count("inferno_stream_gauge.install(c_python_backend_utils)\n") == 1
    assert (tmp_path / "backends" / "python" / "inferno_stream_gauge.py").is_file()


def test_our_libraries_come_first() -> None:
    assert library_path((Path("/a"),), {"LD_LIBRARY_PATH": "/b"}) == "/a:/b"
    assert library_path((Path("/a"),), {}) == "/a"
