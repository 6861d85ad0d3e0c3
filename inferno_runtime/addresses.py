"""Network addresses as people write them."""

from __future__ import annotations

import ipaddress

from inferno_runtime.errors import InvalidInput

_MAX_PORT = 65535


def parse_address(text: str, what: str = "address") -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``.

    Raises:
        InvalidInput: The text has no host, no port, or a port outside 1 to 65535.

    >>> parse_address("127.0.0.1:8001")
    ('127.0.0.1', 8001)
    >>> parse_address("[::1]:8001")
    ('::1', 8001)
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= _MAX_PORT:
        raise InvalidInput(
            f"{what} {text!r} is not host:port with a port from 1 to {_MAX_PORT}.",
            reason="BAD_ADDRESS",
            fix="Write it like 10.0.0.7:8001 or [fd00::7]:8001.",
            metadata={"value": text},
        )
    return host, int(port)


def is_ip(host: str) -> bool:
    """True of an IP address, False of a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
