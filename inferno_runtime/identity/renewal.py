"""When a certificate is renewed: at half its life, so that half of it is left to try again. Times are Unix seconds."""

from __future__ import annotations

from inferno_runtime.identity.authority import BACKDATED
from inferno_runtime.identity.preflight import Facts

# Members that joined together do not come back together: each renews within a tenth of the life around its half.
_SPREAD = 0.1
# A clock that was set, or a machine that slept, is noticed after this many seconds.
LONGEST_WAIT = 600.0


def renewal(certificate: Facts, chance: float) -> float:
    """The moment to renew; ``chance`` between 0 and 1 is drawn once for each certificate."""
    issued = certificate.not_before + BACKDATED
    return issued + (certificate.not_after - issued) * (0.5 + _SPREAD * (chance - 0.5))
