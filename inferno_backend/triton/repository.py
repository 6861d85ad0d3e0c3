"""A local model repository: which models it holds, and which cannot be loaded, before Triton is started."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from inferno_runtime.errors import InvalidInput, NotFound

# S3 may be followed by the whole address of a server of one's own: s3://https://host:port/bucket/folder.
_STORE = re.compile(r"(s3|gs|as):/+(?:(https?):/+)?(.+)")


@dataclass(frozen=True, slots=True)
class Repository:
    """What a repository holds: model names in order, the reason for each that cannot be loaded, remarks on others.

    ``processes`` are how many processes each Python model gets at least. A repository in an object store, which only
    Triton looks into, has its address as ``store``.
    """

    path: Path
    models: tuple[str, ...]
    broken: Mapping[str, str]
    remarks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    processes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    store: str = ""

    @property
    def location(self) -> str:
        """What Triton is told."""
        return self.store or str(self.path)


def store(setting: Path) -> str:
    """The address of the object store that a setting names; empty when it names a folder.

    Triton reads s3://, gs:// and as:// by itself (its documentation, user_guide/model_repository). A path keeps one of
    two slashes.
    """
    found = _STORE.fullmatch(str(setting))
    if found is None:
        return ""
    kind, scheme, rest = found.groups()
    return f"{kind}://{scheme}://{rest}" if scheme else f"{kind}://{rest}"


def scan_folder(setting: Path) -> Repository:
    """As :func:`scan`, for what reads the models' files: an object store is refused.

    Raises:
        InvalidInput: As :func:`scan`, or the setting names an object store.
    """
    if address := store(setting):
        raise InvalidInput(
            f"{address} is an object store: only Triton sees the models' files in it.",
            reason="NOT_A_FOLDER",
            fix="Copy the model to a folder and give that as --model-repository.",
        )
    return scan(setting.absolute())


def scan(path: Path) -> Repository:
    """Look at a repository.

    Raises:
        NotFound: Never; what is missing is the input's fault:
        InvalidInput: It does not exist, holds no model, or none that can be loaded.
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
    remarks: dict[str, str] = {}
    processes: dict[str, int] = {}
    for folder in sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith((".", "_"))):
        models.append(folder.name)
        file = folder / "config.pbtxt"
        config: Any = model_config_pb2.ModelConfig()
        try:
            # Triton completes a missing configuration where the backend can.
            text_format.Parse(file.read_text(encoding="utf-8") if file.exists() else "", config)
        except (text_format.ParseError, UnicodeDecodeError, OSError) as error:
            broken[folder.name] = f"{folder.name}/config.pbtxt:{error}"
            continue
        if fault := _fault(folder, config):
            broken[folder.name] = fault
            continue
        if config.backend == "python":
            processes[folder.name] = sum(max(1, group.count) for group in config.instance_group) or 1
        if any(sample.batch_size == 0 for sample in config.model_warmup):
            remarks[folder.name] = (
                "Triton skips a warm-up sample without a batch_size; 1 runs it, also without batching."
            )
    if not models:
        raise InvalidInput(
            f"The model repository {path} holds no model.",
            reason="EMPTY_REPOSITORY",
            fix="Put each model into a folder of its own: MODEL/config.pbtxt and MODEL/1/.",
        )
    if len(broken) == len(models):
        raise InvalidInput(
            f"No model of {path} can be loaded: {next(iter(broken.values())).rstrip('.')}.",
            reason="BROKEN_MODEL",
            fix="Correct it.",
        )
    return Repository(path, tuple(models), broken, remarks, processes)


def _fault(folder: Path, config: Any) -> str:
    """What keeps a model from being loaded though its configuration can be read; empty when nothing is known.

    Triton leaves a model without versions out of its index, and a Python model without its file keeps Triton 2.51 from
    ever getting ready: its stub ends before Triton listens for it, and Triton waits.
    """
    try:
        versions = sorted(int(each.name) for each in folder.iterdir() if each.is_dir() and each.name.isdecimal())
    except OSError as error:
        return f"{folder.name} cannot be read: {error.strerror}."
    if not versions:
        return f"{folder.name} has no version: its files belong into {folder.name}/1/."
    if config.backend != "python":
        return ""
    file = config.default_model_filename or "model.py"
    missing = [one for one in _served(versions, config.version_policy) if not (folder / str(one) / file).is_file()]
    return f"{folder.name}/{missing[0]}/{file} does not exist." if missing else ""


def _served(versions: list[int], policy: Any) -> list[int]:
    """The versions that Triton loads, ascending; by default the greatest."""
    if policy.HasField("all"):
        return versions
    if policy.HasField("specific"):
        return [one for one in versions if one in policy.specific.versions]
    return versions[-max(1, policy.latest.num_versions) :]


def choose(repository: Repository, wanted: Sequence[str], option: str = "--model") -> tuple[str, ...]:
    """The models to load: those wanted by an option, or all that can be loaded.

    Raises:
        NotFound: A wanted model is not there; the sentence names those that are.
        InvalidInput: None of the wanted ones can be loaded.
    """
    check_known(repository, wanted, option)
    chosen = tuple(name for name in wanted or repository.models if name not in repository.broken)
    if not chosen:
        raise InvalidInput(
            f"No wanted model can be loaded: {repository.broken[wanted[0]].rstrip('.')}.",
            reason="BROKEN_MODEL",
            fix="Correct it.",
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
