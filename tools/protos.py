"""Everything made from or checked about ``protos/``: generated code, drift, and the promise not to break the wire."""

from __future__ import annotations

import filecmp
import importlib.metadata
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
_ROOT_DOCSTRING = (
    "Code generated from ``protos/inferno``; regenerate with ``nox -s protos``. Nothing here is written by hand."
)


class Drift(Exception):
    """The tree does not hold what the protos say, or the protos say nothing that compiles."""


def generate(target: Path) -> None:
    """Write the package ``inferno`` and ``protos/inference`` below ``target``, as the tree must hold them."""
    sources = sorted((ROOT / "protos" / "inferno").rglob("*.proto"))
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT / 'protos'}", *outputs]
    # mypy-protobuf names every file it writes; a failure still shows in full.
    done = subprocess.run([*command, *(str(source) for source in sources)], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Drift(f"the protos do not compile: {done.stderr.strip()}")
    package = target / "inferno"
    (package / "py.typed").touch()
    for folder in [package, *(path for path in sorted(package.rglob("*")) if path.is_dir())]:
        name = ".".join(folder.relative_to(target).parts)
        text = _ROOT_DOCSTRING if folder == package else f"Generated from ``protos/{name.replace('.', '/')}``."
        (folder / "__init__.py").write_text(f'"""{text}"""\n', encoding="utf-8")
    _generate_contract(target / "protos")


def _generate_contract(target: Path) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from tritonclient.grpc import model_config_pb2, service_pb2

    from tools.inference_contract import contract

    files = []
    for module in (service_pb2, model_config_pb2):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    for name, text in contract(importlib.metadata.version("tritonclient"), files).items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    subprocess.run(["buf", "format", "--write", str(target)], check=True)


def write() -> None:
    """Bring the tree to what the protos say: new files are written, and files no proto asks for are removed."""
    with TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        for name in _different(fresh):
            source, destination = fresh / name, ROOT / name
            if source.exists():
                destination.parent.mkdir(parents=True, exist_ok=True)
                destination.write_bytes(source.read_bytes())
            else:
                destination.unlink()


def check_drift() -> None:
    """Raise Drift naming each file that differs from what the protos say."""
    with TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        different = _different(fresh)
    if different:
        raise Drift(f"generated files differ from the protos (run `nox -s protos -- --write`): {', '.join(different)}")


def _different(fresh: Path) -> list[str]:
    names = _generated_files(fresh) | _generated_files(ROOT)
    return sorted(
        name
        for name in names
        if not ((fresh / name).exists() and (ROOT / name).exists())
        or not filecmp.cmp(fresh / name, ROOT / name, shallow=False)
    )


def _generated_files(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for folder in ("inferno", "protos/inference")
        for path in (root / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def baseline() -> tuple[str, str]:
    """The commit whose protos today's must not break, and why that one; two empty strings without any history.

    The last release, because that is what others built on. Before the first release: where this branch left main; on
    main itself the commit before the last one; in a clone so shallow that it has no such commit, the last one, which
    still catches what is not committed yet.
    """
    tag = _git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
    if tag:
        return tag, "the last release"
    head = _git("rev-parse", "HEAD")
    for main in ("origin/main", "main"):
        fork = _git("merge-base", "HEAD", main)
        if fork and fork != head:
            return fork, f"where this branch left {main}"
    before = _git("rev-parse", "--verify", "--quiet", "HEAD~1")
    if before:
        return before, "the commit before the last one"
    return (head, "the last commit") if head else ("", "")


def check_breaking() -> str:
    """Run ``buf breaking`` and return what it compared with; a break raises CalledProcessError."""
    commit, why = baseline()
    if not commit:
        return "nothing: this tree has no git history"
    with TemporaryDirectory() as scratch:
        command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit, "--", "protos", "buf.yaml"]
        archive = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(scratch, filter="data")
        subprocess.run(["buf", "breaking", "--against", scratch], check=True, cwd=ROOT)
    return f"{commit} ({why})"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""
