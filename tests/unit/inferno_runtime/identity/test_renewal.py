from __future__ import annotations

import pytest
from cryptography import x509

from inferno_runtime.identity.preflight import facts
from inferno_runtime.identity.renewal import renewal
from tests.certificates import NOW, authority, issued


@pytest.mark.parametrize(("chance", "share"), [(0, 0.45), (0.5, 0.5), (1, 0.55)])
@pytest.mark.parametrize("seconds", [60, 86_400])
def test_a_certificate_is_renewed_around_half_its_life(chance: float, share: float, seconds: float) -> None:
    made = facts(x509.load_pem_x509_certificate(issued(authority(), "node/a", seconds=seconds).certificate))
    assert renewal(made, chance) == pytest.approx(NOW + share * seconds)
