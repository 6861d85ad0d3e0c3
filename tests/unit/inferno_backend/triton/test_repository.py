"""What a model repository holds, before Triton looks at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferno_backend.triton.repository import choose, scan, scan_folder, store
from inferno_runtime.errors import InvalidInput, NotFound


def model(repository: Path, name: str, config: str | None = 'backend: "python"\n') -> None:
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1" / "model.py").touch()
    if config is not None:
        (repository / name / "config.pbtxt").write_text(config)


def test_models_are_folders_and_a_configuration_may_be_left_out(tmp_path: Path) -> None:
    model(tmp_path, "b")
    model(tmp_path, "a", None)
    (tmp_path / "README.md").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / "__pycache__").mkdir()
    found = scan(tmp_path)
    assert found.models == ("a", "b")
    assert not found.broken


def test_a_broken_configuration_is_told_with_place_and_reason_and_the_others_go_on(tmp_path: Path) -> None:
    model(tmp_path, "good")
    model(tmp_path, "typo", 'backend: "python"\nmax_batch_sise: 3\n')
    model(tmp_path, "binary")
    (tmp_path / "binary" / "config.pbtxt").write_bytes(b"\xff\xfe")
    found = scan(tmp_path)
    assert choose(found, ()) == ("good",)
    assert "typo/config.pbtxt:2:1" in found.broken["typo"]
    assert "max_batch_sise" in found.broken["typo"]
    assert "binary/config.pbtxt" in found.broken["binary"]


def test_a_model_without_a_version_or_without_its_file_is_told_before_triton_stumbles_over_it(tmp_path: Path) -> None:
    model(tmp_path, "good")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes").mkdir()
    model(tmp_path, "fileless")
    (tmp_path / "fileless" / "1" / "model.py").unlink()
    found = scan(tmp_path)
    assert found.broken == {
        "empty": "empty has no version: its files belong into empty/1/.",
        "fileless": "fileless/1/model.py does not exist.",
    }


@pytest.mark.parametrize(
    ("policy", "missing"),
    [
        ("", "m/3/main.py"),
        ("version_policy { latest { num_versions: 2 } }", "m/2/main.py"),
        ("version_policy { all {} }", "m/2/main.py"),
        ("version_policy { specific { versions: [ 1 ] } }", ""),
    ],
)
def test_the_file_is_looked_for_in_the_versions_that_triton_loads(tmp_path: Path, policy: str, missing: str) -> None:
    model(tmp_path, "other")
    model(tmp_path, "m", f'backend: "python"\ndefault_model_filename: "main.py"\n{policy}\n')
    for version in ("2", "3"):
        (tmp_path / "m" / version).mkdir()
    (tmp_path / "m" / "1" / "main.py").touch()
    found = scan(tmp_path).broken
    assert found == ({"m": f"{missing} does not exist."} if missing else {})


def test_python_models_have_as_many_processes_as_instances(tmp_path: Path) -> None:
    model(tmp_path, "one")
    model(tmp_path, "five", 'backend: "python"\ninstance_group [{ count: 2 }, { count: 3 }]\n')
    model(tmp_path, "other", 'backend: "onnxruntime"\n')
    assert scan(tmp_path).processes == {"one": 1, "five": 5}


def test_a_warm_up_that_triton_skips_is_remarked_on(tmp_path: Path) -> None:
    model(tmp_path, "m", 'backend: "python"\nmodel_warmup [{ name: "w" }]\n')
    model(tmp_path, "n", 'backend: "python"\nmodel_warmup [{ name: "w" batch_size: 1 }]\n')
    found = scan(tmp_path)
    assert not found.broken
    assert tuple(found.remarks) == ("m",)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/models", "s3://bucket/models"),
        ("s3://http://127.0.0.1:9000/bucket/models", "s3://http://127.0.0.1:9000/bucket/models"),
        ("s3://https://host:1/bucket", "s3://https://host:1/bucket"),
        ("gs://bucket/a/b", "gs://bucket/a/b"),
        ("as://account/container/a", "as://account/container/a"),
        ("/srv/models", ""),
        ("s3/models", ""),
    ],
)
def test_an_object_store_is_told_from_a_folder_by_its_address(given: str, address: str) -> None:
    assert store(Path(given)) == address


@pytest.mark.parametrize(("name", "pattern"), [("nothing", "does not exist"), ("file", "is not a folder")])
def test_no_folder_is_no_repository(tmp_path: Path, name: str, pattern: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=pattern):
        scan(tmp_path / name)


def test_what_reads_models_files_refuses_an_object_store() -> None:
    with pytest.raises(InvalidInput, match=r"^s3://bucket/models is an object store: only Triton sees") as refused:
        scan_folder(Path("s3://bucket/models"))
    assert refused.value.reason == "NOT_A_FOLDER"


def test_an_empty_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no model"):
        scan(tmp_path)


def test_a_repository_of_broken_models_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    model(tmp_path, "typo", "max_batch_sise: 3\n")
    with pytest.raises(InvalidInput, match="max_batch_sise"):
        scan(tmp_path)


def test_wanted_models_are_chosen_and_an_unknown_one_names_those_there(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        model(tmp_path, name)
    found = scan(tmp_path)
    assert choose(found, ("c", "a")) == ("c", "a")
    with pytest.raises(NotFound, match=r"no model 'x' in .*; there is a, b, c"):
        choose(found, ("a", "x"))


def test_wanting_only_a_broken_model_is_refused(tmp_path: Path) -> None:
    model(tmp_path, "good")
    model(tmp_path, "typo", "max_batch_sise: 3\n")
    with pytest.raises(InvalidInput, match="max_batch_sise"):
        choose(scan(tmp_path), ("typo",))
