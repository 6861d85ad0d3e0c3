"""A local model repository: which models it holds, and which cannot be read, before Triton is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inferno_runtime.errors import InvalidInput, NotFound


@dataclass(frozen=True, slots=True)
class Repository:
    """What a repository holds: model names in order, and for each unreadable one the reason."""

    path: Path
    models: tuple[str, ...]
    broken: Mapping[str, str]


def scan(path: Path) -> Repository:
    """Look at a repository.

    Raises:
        NotFound: Never; what is missing is the input's fault:
        InvalidInput: It does not exist, holds no model, or none that can be read.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise InvalidInput(
            f"The model repository {path} {what}.",
            reason="NO_REPOSITORY",
            fix="Check --model-repository: it is a folder with one folder for each model.",
        )
    models: list[str] = []
    broken: dict[str, str] = {}
    for folder in sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith((".", "_"))):
        models.append(folder.name)
        config = folder / "config.pbtxt"
        if not config.is_file():
            continue  # Triton completes a missing configuration where the backend can.
        try:
            text_format.Parse(config.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
        except (text_format.ParseError, UnicodeDecodeError) as error:
            broken[folder.name] = f"{folder.name}/config.pbtxt:{error}"
    if not models:
        raise InvalidInput(
            f"The model repository {path} holds no model.",
            reason="EMPTY_REPOSITORY",
            fix="Put each model into a folder of its own: MODEL/config.pbtxt and MODEL/1/.",
        )
    if len(broken) == len(models):
        raise InvalidInput(
            f"No model of {path} can be read: {next(iter(broken.values()))}.",
            reason="BROKEN_MODEL",
            fix="Correct its config.pbtxt.",
        )
    return Repository(path, tuple(models), broken)


def choose(repository: Repository, wanted: Sequence[str]) -> tuple[str, ...]:
    """The models to load: those wanted, or all that can be read.

    Raises:
        NotFound: A wanted model is not there; the sentence names those that are.
        InvalidInput: None of the wanted ones can be read.
    """
    check_known(repository, wanted, "--model")
    chosen = tuple(name for name in wanted or repository.models if name not in repository.broken)
    if not chosen:
        raise InvalidInput(
            f"No wanted model can be read: {repository.broken[wanted[0]]}.",
            reason="BROKEN_MODEL",
            fix="Correct its config.pbtxt.",
        )
    return chosen


def check_known(repository: Repository, wanted: Sequence[str], option: str) -> None:
    """Check the models that an option names.

    Raises:
        NotFound: One is not there; the sentence names those that are.
    """
    for name in wanted:
        if name not in repository.models:
            raise NotFound(
                f"There is no model {name!r} in {repository.path}; there is {', '.join(repository.models)}.",
                reason="NO_MODEL",
                fix=f"Check {option}.",
                metadata={"model": name},
            )
