from __future__ import annotations

import pytest

from inferno_runtime.errors import InvalidInput
from inferno_runtime.identity.names import MeshName, Role


@pytest.mark.parametrize("role", Role)
def test_a_name_is_read_back_as_it_was_written(role: Role) -> None:
    name = MeshName("mesh.example", role, "a-1_b.C")
    assert str(name) == f"spiffe://mesh.example/{role}/a-1_b.C"
    assert MeshName.parse(str(name)) == name


@pytest.mark.parametrize(
    "uri",
    [
        "", "spiffe://", "spiffe://mesh", "spiffe://mesh/node", "spiffe://mesh/node/", "spiffe://mesh/node/a/b",
        "spiffe://mesh/king/a", "https://mesh/node/a", "spiffe://MESH/node/a", "spiffe://mesh/node/a%2fb",
        "spiffe://mesh/node/..", "spiffe://mesh/node/.", "spiffe:///node/a", "spiffe://mesh/node/a\n", "x" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        MeshName.parse(uri)
    assert refused.value.reason == "BAD_NAME"
    assert len(refused.value.sentence()) < 500
