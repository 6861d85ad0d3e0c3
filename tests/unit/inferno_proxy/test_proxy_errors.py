"""Names in sentences."""

from __future__ import annotations

from inferno_proxy.errors import unknown_model


def test_an_unknown_model_names_those_that_exist_within_a_bound() -> None:
    error = unknown_model("x", [f"m{n:02}" for n in range(30)])
    assert "m00" in error.fix
    assert "m19 and 10 more" in error.fix
    assert "none" in unknown_model("x", []).fix
