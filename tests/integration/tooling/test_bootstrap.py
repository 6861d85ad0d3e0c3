"""bootstrap.py against a small project of its own: real environments, real pip, and no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent.parent

# Builds the project's editable wheel without anything from an index: one program, `inferno`, that shows its arguments.
BACKEND = """\
import zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "tiny-1.0-py3-none-any.whl"
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.writestr("tiny.py", "import sys\\ndef main():\\n    print('inferno', *sys.argv[1:])\\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\\ninferno = tiny:main\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with empty locks beside a copy of the real bootstrap.py."""
    shutil.copy(ROOT / "bootstrap.py", tmp_path)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (tmp_path / "backend.py").write_text(BACKEND, encoding="utf-8")
    locks = tmp_path / "requirements"
    locks.mkdir()
    for lock in ("runtime", "dev"):
        (locks / f"{lock}.txt").write_text("# nothing\n", encoding="utf-8")
    return tmp_path


def bootstrap(checkout: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the copy with this Python."""
    variables = {**os.environ, "PATH": path or os.environ["PATH"]}
    command = [sys.executable, str(checkout / "bootstrap.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=variables)


def as_python_3_13(checkout: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Run the copy while Python says that it is 3.13."""
    code = f"import sys, runpy; sys.version_info = (3, 13, 0); sys.argv = ['bootstrap.py', 'up']; runpy.run_path({str(checkout / 'bootstrap.py')!r}, run_name='__main__')"  # noqa: E501
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "PATH": path})


def test_help_says_the_two_commands_and_installs_nothing(checkout: Path) -> None:
    done = bootstrap(checkout, "--help")
    assert done.returncode == 0
    assert "inferno up" in done.stdout
    assert "every check and test" in done.stdout
    assert not (checkout / ".venv").exists()


def test_the_first_call_installs_and_runs_and_the_second_only_runs(checkout: Path) -> None:
    first = bootstrap(checkout, "up", "--nodes", "3")
    assert first.stdout == "inferno up --nodes 3\n", first.stderr
    assert first.stderr.startswith("[1/3] Making an environment in")
    assert "[3/3] Installing Inferno itself" in first.stderr

    second = bootstrap(checkout, "status", "--help")
    assert (second.stdout, second.stderr) == ("inferno status --help\n", "")


def test_an_installation_that_was_cut_off_is_made_anew(checkout: Path) -> None:
    assert bootstrap(checkout, "install").returncode == 0
    environment = checkout / ".venv"
    (environment / "inferno-installed.json").unlink()
    (environment / "inferno-installing").touch()
    (environment / "half-a-package").touch()

    again = bootstrap(checkout, "up")
    assert again.stdout == "inferno up\n", again.stderr
    assert "anew, because an earlier installation was cut off" in again.stderr
    assert not (environment / "half-a-package").exists()


def test_a_changed_lock_is_installed_and_one_that_cannot_be_says_why(checkout: Path) -> None:
    assert bootstrap(checkout, "install").returncode == 0
    lock = checkout / "requirements" / "runtime.txt"
    lock.write_text("./absent-1.0-py3-none-any.whl\n", encoding="utf-8")

    failed = bootstrap(checkout, "up")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "The installation failed (" in failed.stderr
    assert "run this again" in failed.stderr.splitlines()[-1]

    lock.write_text("# nothing, again\n", encoding="utf-8")
    assert bootstrap(checkout, "up").stdout == "inferno up\n"


def test_an_incomplete_checkout_is_named(checkout: Path) -> None:
    (checkout / "requirements" / "runtime.txt").unlink()
    done = bootstrap(checkout, "up")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "runtime.txt cannot be read (No such file or directory): the checkout is incomplete" in done.stderr


def test_a_python_that_does_not_fit_says_which_ones_do(checkout: Path, tmp_path: Path) -> None:
    done = as_python_3_13(checkout, path=str(tmp_path / "nothing"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "needs Python 3.11 or 3.12; this is 3.13" in done.stderr
    assert "apt install python3.11-venv" in done.stderr


def test_a_python_that_does_not_fit_hands_over_to_one_that_does(checkout: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    broken, fitting = programs / "python3.12", programs / "python3.11"
    broken.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    fitting.write_text('#!/bin/sh\n[ "$1" = -I ] && echo "(3, 11)" || echo "handed over: $2"\n', encoding="utf-8")
    for program in (broken, fitting):
        program.chmod(0o755)

    done = as_python_3_13(checkout, path=str(programs))
    assert done.returncode == 0
    assert done.stdout == "handed over: up\n"
    assert f"going on with {fitting}" in done.stderr
