"""The last good snapshot on a real disk."""

from __future__ import annotations

import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_proxy.publishing.snapshot import (
    Dialect,
    Resource,
    ResourceType,
    Snapshot,
    last_good_path,
    read_last_good,
    same_content,
    write_last_good,
)

SNAPSHOT = Snapshot(
    7,
    {
        ResourceType.CLUSTER: {"ä": Resource.of("ä", b"\x00\x01"), "b": Resource.of("b", b"")},
        ResourceType.ENDPOINT: {},
    },
    {"node-1": (2, 3)},
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = last_good_path(tmp_path / "new", Dialect.ENVOY)
    write_last_good(path, SNAPSHOT)
    assert read_last_good(path) == SNAPSHOT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["last-good-envoy.snapshot"]


def test_a_later_one_replaces_an_earlier_one(tmp_path: Path) -> None:
    path = last_good_path(tmp_path, Dialect.GRPC)
    write_last_good(path, SNAPSHOT)
    write_last_good(path, Snapshot(8))
    assert read_last_good(path) == Snapshot(8)


def test_no_file_is_no_snapshot(tmp_path: Path) -> None:
    assert read_last_good(tmp_path / "none.snapshot") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: raw[:70] + bytes([raw[70] ^ 1]) + raw[71:],
        lambda raw: b"X" + raw[1:],
        lambda raw: raw[:16] + struct.pack("<H", 99) + raw[18:],
    ],
    ids=["empty", "cut", "longer", "flipped bit", "another file", "another format"],
)
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    path = last_good_path(tmp_path, Dialect.ENVOY)
    write_last_good(path, SNAPSHOT)
    path.write_bytes(damage(path.read_bytes()))
    assert read_last_good(path) is None
    assert [p.name for p in tmp_path.iterdir()] == ["last-good-envoy.corrupt"]


def test_a_type_this_version_does_not_know_sets_the_file_aside(tmp_path: Path) -> None:
    import hashlib

    path = last_good_path(tmp_path, Dialect.ENVOY)
    write_last_good(path, SNAPSHOT)
    raw = path.read_bytes()
    body = raw[58:].replace(b"envoy.config.cluster.v3.Cluster", b"envoy.config.cluster.v9.Cluster")
    header = raw[:26] + hashlib.blake2b(body, digest_size=32).digest()
    path.write_bytes(header + body)
    assert read_last_good(path) is None


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_last_good(last_good_path(tmp_path / "file", Dialect.ENVOY), SNAPSHOT)


def test_a_file_that_cannot_be_read_is_no_snapshot(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert read_last_good(last_good_path(tmp_path / "file", Dialect.ENVOY)) is None


def test_reading_it_needs_neither_grpc_nor_envoys_api() -> None:
    code = (
        "import sys; from pathlib import Path; from inferno_proxy.publishing.snapshot import read_last_good; "
        "read_last_good(Path('none')); "
        "print([m for m in ('grpc', 'google.protobuf', 'envoy_data_plane') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


names = st.text(min_size=1, max_size=20)
resources = st.dictionaries(names, st.binary(max_size=50)).map(lambda d: {n: Resource.of(n, b) for n, b in d.items()})
contents = st.dictionaries(st.sampled_from(ResourceType), resources)


@given(contents, contents)
def test_content_is_the_same_exactly_when_names_and_bodies_are(
    one: dict[ResourceType, dict[str, Resource]], other: dict[ResourceType, dict[str, Resource]]
) -> None:
    assert same_content(one, one)
    assert same_content(one, other) == (one == other)
