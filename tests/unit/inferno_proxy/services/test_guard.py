from __future__ import annotations

import pytest

from inferno_proxy.services.guard import action_of
from inferno_runtime.identity.permission import Action


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("/healthz", None),
        ("/readyz", None),
        ("/register/n1", None),
        ("/v2", Action.INFER),
        ("/v2/models/m/stats", Action.INFER),
        ("/v2/repository/index", Action.INFER),
        ("/v2/repository/models/m/load", Action.OPERATE),
        ("/metrics", Action.READ),
        ("/healthz2", Action.OPERATE),
        ("/", Action.OPERATE),
        ("", Action.OPERATE),
    ],
)
def test_what_a_path_asks_of_its_caller(path: str, action: Action | None) -> None:
    assert action_of(path) is action
