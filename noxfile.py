"""How every tool is run: format, lint, types, layers, protos, tests, lock, bench, chaos.

All sessions share the environment nox itself runs in (``python3 bootstrap.py nox`` makes it), so what is checked is
what is run. ``nox`` alone runs the checks and then the tests.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import nox

# buf and the protoc plugins are found beside this Python, however nox was started.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

nox.options.default_venv_backend = "none"
nox.options.sessions = ["format", "lint", "types", "layers", "protos", "tests"]
nox.options.error_on_missing_interpreters = True

PACKAGES = ["inferno_runtime", "inferno_proxy", "inferno_backend", "inferno_governator", "inferno_cli"]
CHECKED = [*PACKAGES, "tests", "benchmarks", "tools", "examples/serve.py", "bootstrap.py", "noxfile.py"]
LOCKS = {"runtime": ["--group", "build"], "dev": ["--group", "build", "--group", "dev"]}


def python(session: nox.Session, *arguments: str) -> None:
    """Run this environment's Python; the tools' own caches stay where they put them."""
    session.run(sys.executable, *arguments, external=True)


@nox.session(tags=["checks"])
def format(session: nox.Session) -> None:  # noqa: A001 - the session's name on the command line
    """Check the formatting; ``-- --write`` formats, and sorts imports."""
    if "--write" in session.posargs:
        python(session, "-m", "ruff", "check", "--select", "I", "--fix", ".")
        python(session, "-m", "ruff", "format", ".")
    else:
        python(session, "-m", "ruff", "format", "--check", ".")


@nox.session(tags=["checks"])
def lint(session: nox.Session) -> None:
    """Lint all Python; arguments go to ruff, for example ``-- --fix``."""
    python(session, "-m", "ruff", "check", ".", *session.posargs)


@nox.session(tags=["checks"])
def types(session: nox.Session) -> None:
    """Check all types, strictly; arguments are the paths to check instead of everything."""
    python(session, "-m", "mypy", *(session.posargs or CHECKED))


@nox.session(tags=["checks"])
def layers(session: nox.Session) -> None:
    """Check which package imports which."""
    session.run("lint-imports", "--no-logo", external=True)


@nox.session(tags=["checks"])
def protos(session: nox.Session) -> None:
    """Check the protos: style, drift of the generated code, and the promise to clients; ``-- --write`` generates."""
    from tools import protos

    try:
        if "--write" in session.posargs:
            protos.write()
        protos.check_drift()
    except protos.Drift as drift:
        session.error(str(drift))
    session.run("buf", "lint", external=True)
    session.run("buf", "format", "--diff", "--exit-code", "protos", external=True)
    session.log(f"no breaking change against {protos.check_breaking()}")


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test with coverage; with arguments, only pytest with those, and without coverage."""
    # What reads the output looks for pytest's closing line: from here on nox adds nothing after it.
    logging.getLogger("nox").setLevel(logging.CRITICAL)
    if session.posargs:
        python(session, "-m", "pytest", *session.posargs)
        return
    python(session, "-m", "coverage", "erase")
    # Neither can be imported by itself: Triton runs the examples, and Alembic the migrations.
    ignored = ["--ignore=inferno_backend/examples", "--ignore=inferno_governator/store/migrations"]
    python(session, "-m", "pytest", "--doctest-modules", *ignored, "--cov", "--cov-report=term", *PACKAGES, "tests")


@nox.session
def lock(session: nox.Session) -> None:
    """Write requirements/ anew from pyproject.toml; ``-- --upgrade`` takes the newest versions it allows."""
    fixed = ["--universal", "--python-version", "3.11", "--generate-hashes", "--custom-compile-command", "nox -s lock"]
    for name, groups in LOCKS.items():
        shared = ["--constraint", "requirements/runtime.txt"] if name == "dev" else []
        output = ["--output-file", f"requirements/{name}.txt"]
        arguments = [*groups, *fixed, *shared, *output, "--quiet", *session.posargs]
        python(session, "-m", "uv", "pip", "compile", "pyproject.toml", *arguments)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the request path, sharing calls out, the way to a first call, telemetry, reports, simulations, scale."""
    parts = (
        "proxy_path",
        "node_tls",
        "balancing",
        "propagation",
        "telemetry_ingest",
        "bill",
        "telemetry_agent",
        "device_sampling",
        "anomalies",
        "cost_reports",
        "mix",
        "simulation",
        "spot",
        "scale",
        "scaling",
    )
    for part in session.posargs or parts:
        python(session, "-m", f"benchmarks.{part}")


@nox.session
def chaos(session: nox.Session) -> None:
    """Play the fault scenarios and print the table of promises kept and broken."""
    python(session, "-m", "benchmarks.chaos", *session.posargs)
