"""Tokens (JWT) as an issuer signs them, and the public key that they are verified with."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

KEY = ec.generate_private_key(ec.SECP256R1())


def public_keys() -> str:
    """The issuer's JWKS."""
    numbers = KEY.public_key().public_numbers()
    point = {name: _b64(value.to_bytes(32, "big")) for name, value in (("x", numbers.x), ("y", numbers.y))}
    return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "1", **point}]})


def token(key: ec.EllipticCurvePrivateKey = KEY, **claims: Any) -> str:
    """A token of alice's that is good for ten minutes, unless ``claims`` say otherwise."""
    said = {"iss": "https://id.example", "aud": "mesh", "sub": "alice", "exp": int(time.time()) + 600, **claims}
    parts = (json.dumps({"alg": "ES256", "kid": "1"}), json.dumps(said))
    text = ".".join(_b64(part.encode()) for part in parts)
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
